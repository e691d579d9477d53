"""The relays under measurement: how each is configured, started and stopped."""

import os
import resource
import shutil
import socket
import subprocess
import time
from pathlib import Path

PEERS = ("nginx", "haproxy")
RELAYS = (*PEERS, "sollol")

START_LIMIT_S = 10
STOP_LIMIT_S = 10

NGINX = """\
daemon off;
worker_processes {workers};
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log {folder}/nginx.err error;
events {{ worker_connections {nginx_connections}; }}
http {{
  access_log {access_log};
  keepalive_timeout 300s;
  keepalive_requests 100000000;
  client_body_buffer_size 64k;
  client_max_body_size 0;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream nodes {{
{servers}
    keepalive 1024;
    keepalive_requests 100000000;
    keepalive_timeout 300s;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=16384;
    location / {{
      proxy_pass http://nodes;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""

HAPROXY = """\
global
  nbthread {workers}
  maxconn {connections}
defaults
  mode http
  option http-no-delay
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 300s
frontend relay
  bind 127.0.0.1:{port} backlog 16384
  default_backend nodes
backend nodes
{servers}
"""


class NoSuchRelay(Exception):
    """The program of this relay is not on this machine."""


def find(program):
    """The absolute path of a program, the system folders included."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise NoSuchRelay(f"{program} is not installed")
    return found


def file_limit():
    """How many files a process here may open at most."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def prepare(cpu):
    """What a child does before it becomes the program: all the files it may open, and its CPU."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (file_limit(), file_limit()))
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def free_port(address="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


class Relay:
    """One program between the load and the origin; a context manager that starts and stops it."""

    def __init__(self, name, nodes, folder, cpu, sollol=None, sollol_options=(), workers=1, fields=()):
        self.name, self.nodes, self.folder, self.cpu = name, nodes, Path(folder), cpu
        self.workers, self.fields = workers, fields
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"
        self.process = None
        self.command = getattr(self, f"_{name}_command")(sollol, sollol_options)

    def _nginx_command(self, _sollol, options):
        servers = "\n".join(f"    server {node} max_fails=0;" for node in self.nodes)
        log = f"{options[1]} combined buffer=64k flush=1s" if options else "off"
        config = self._write("nginx.conf", NGINX, servers=servers, access_log=log)
        return [
            find("nginx"),
            "-p",
            str(self.folder),
            "-e",
            str(self.folder / "nginx.err"),
            "-c",
            config,
        ]

    def _haproxy_command(self, _sollol, _options):
        servers = "\n".join(f"  server node{i} {node}" for i, node in enumerate(self.nodes))
        return [
            find("haproxy"),
            "-db",
            "-q",
            "-f",
            self._write("haproxy.cfg", HAPROXY, servers=servers),
        ]

    def _sollol_command(self, sollol, options):
        if not sollol or not Path(sollol).is_file():
            raise NoSuchRelay(f"{sollol} is not built")
        nodes = [word for node in self.nodes for word in ("--node", f"http://{node}")]
        workers = ["--workers", str(self.workers)]
        fixed = ["--listen", self.target, *workers, "--slots", "100000", "--no-node-file"]
        limits = ["--queue-max-waiting", "20000", "--limits-connections", "30000"]
        quiet = ["--log-level", "warn", "--state-file", "off"]
        if "--log-access" not in options:
            quiet += ["--log-access", "off"]
        return [str(Path(sollol).resolve()), "up", *fixed, *limits, *quiet, *options, *nodes]

    def _write(self, name, template, servers, access_log=None):
        path = self.folder / f"{self.port}-{name}"
        files = file_limit()
        # nginx with fewer than a sixteenth of its connections free closes those yet to ask.
        path.write_text(
            template.format(
                folder=self.folder,
                port=self.port,
                servers=servers,
                access_log=access_log,
                workers=self.workers,
                files=files,
                nginx_connections=files * 17 // 15,
                connections=(files - 100) // 2,
            )
        )
        return str(path)

    def start(self):
        """Starts it and returns the time just before; it need not be ready yet."""
        self.log = open(self.folder / f"{self.port}-{self.name}.log", "wb")
        started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            stdout=self.log,
            stderr=self.log,
            cwd=self.folder,
            preexec_fn=lambda: prepare(self.cpu),
        )
        return started

    def wait_until_answering(self, request):
        """Asks until it answers 200, at most 0.2 ms apart; returns the time when it did."""
        host, give_up = ("127.0.0.1", self.port), time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up:
            try:
                with socket.create_connection(host, timeout=2) as connection:
                    connection.sendall(request)
                    if connection.recv(65536).startswith(b"HTTP/1.1 200"):
                        return time.monotonic()
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.0002)
        raise RuntimeError(f"{self.name} does not answer: {self.last_words()}")

    def last_words(self):
        return Path(self.log.name).read_text(errors="replace")[-2000:] or "it printed nothing"

    def stop(self):
        if not self.process:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.process = None

    def __enter__(self):
        self.start()
        try:
            self.wait_until_answering(ask_once(self.target, self.fields))
        except Exception:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()


class Direct:
    """No relay at all: the load speaks to the origin."""

    name, process = "direct", None

    def __init__(self, nodes):
        self.target = nodes[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def ask_once(host, fields=()):
    body = b'{"model":"llama3.2","prompt":"Why is the sky blue?","stream":false}'
    head = [
        "POST /api/generate HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *fields,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body
