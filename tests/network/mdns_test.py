"""Gateways and agents announce themselves over multicast DNS and are found: with D-Bus and avahi-daemon of
this test's own, in network namespaces that it makes. SOLLOL_AVAHI_DAEMON names a daemon that is not installed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import hosts

SOLLOL = os.environ.get("SOLLOL_BIN", str(Path(__file__).resolve().parents[2] / "build/release/src/cli/sollol"))
DAEMON = os.environ.get("SOLLOL_AVAHI_DAEMON") or shutil.which("avahi-daemon", path="/usr/sbin:/usr/bin")

# The system's bus of one machine: everything is allowed there.
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
<allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
<allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
<allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
<allow eavesdrop="false"/></policy></busconfig>
"""
AVAHI = """[server]
host-name={name}
use-ipv4=yes
use-ipv6=no
allow-interfaces=eth0
enable-dbus=yes
[publish]
publish-workstation=no
"""


class Mdns(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)
        self.room = self.host()
        self.lan = hosts.Switch(self.room)
        # So wide that nobody scans it.
        self.machine = self.announcer("near", "10.78.0.1/15")
        self.other = self.announcer("far", "10.79.200.7/15")

    def host(self):
        made = hosts.Host()
        self.addCleanup(made.stop)
        return made

    def announcer(self, name, address):
        """A machine with a bus and an Avahi of its own."""
        host = self.host()
        self.lan.plug(host, "eth0", address)
        host.run("ip", "route", "add", "224.0.0.0/4", "dev", "eth0")
        bus = self.path / f"{name}.bus"
        (self.path / f"{name}.xml").write_text(BUS.format(path=bus))
        (self.path / f"{name}.conf").write_text(AVAHI.format(name=name))
        host.environment = f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={bus}"
        host.start("dbus-daemon", "--nofork", "--nopidfile", f"--config-file={self.path / name}.xml")
        self.eventually(bus.exists, "a bus")
        (self.path / name).mkdir()
        # Its folder for its process id would be the system's.
        log = open(self.path / f"{name}.log", "w")
        self.addCleanup(log.close)
        host.start("unshare", "-m", "sh", "-c",
                   f"mkdir -p /run/avahi-daemon; mount --bind {self.path / name} /run/avahi-daemon || mount -t tmpfs none /run; "
                   f"mkdir -p /run/avahi-daemon; exec env {host.environment} {DAEMON} --no-drop-root --no-chroot --no-rlimits "
                   f"--debug --file {self.path / name}.conf", stdout=log, stderr=log)
        self.eventually(lambda: "startup complete" in (self.path / f"{name}.log").read_text(), f"avahi-daemon of {name}")
        return host

    def eventually(self, condition, what, limit_s=20):
        limit = time.monotonic() + limit_s
        while not condition():
            self.assertLess(time.monotonic(), limit, what)
            time.sleep(0.05)

    def start(self, host, *words):
        log = open(self.path / f"{words[1]}-{len(host.processes)}.out", "w")
        self.addCleanup(log.close)
        process = host.start("env", host.environment, "SOLLOL_AGENT_TOKEN=a-token-of-this-test-alone", *words,
                             stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return Path(log.name)

    def sim(self, host, port):
        fleet = self.path / f"{port}.toml"
        fleet.write_text(f'[[node]]\nname = "{port}"\nlisten = "0.0.0.0:{port}"\nmodels = ["llama3.2"]\n')
        self.start(host, SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote")
        self.eventually(lambda: f":{port} " in host.run("ss", "-Hltn").stdout, "a listener")

    def discover(self, *flags):
        return self.machine.run("env", self.machine.environment, SOLLOL, "discover", "--timeout", "1", *flags,
                                check=False).stdout

    def test_an_agents_machine_is_looked_at_and_a_gateway_recognised(self):
        self.sim(self.other, 11434)
        self.start(self.other, SOLLOL, "agent", "--listen", ":11436")
        self.start(self.other, SOLLOL, "up", "--listen", ":11500", "--no-node-file", "--state-file", "off")
        found = lambda: {f"{node['host']}:{node['port']}": node["sources"] for node in
                         json.loads(self.discover("--json", "--source", "mdns"))}
        self.eventually(lambda: found() == {"10.79.200.7:11434": ["mdns"]}, "the node")
        self.eventually(lambda: re.search(r"10\.79\.200\.7:11500: a SOLLOL gateway", self.discover()), "the gateway")
        print(self.discover("--verbose"), flush=True)

    def test_a_gateway_finds_a_machine_whose_agent_starts_later_and_serves_from_it(self):
        log = self.start(self.machine, SOLLOL, "up", "--listen", "127.0.0.1:11500", "--no-node-file", "--state-file", "off",
                         "--discovery-interval", "1")
        self.sim(self.other, 11434)
        self.start(self.other, SOLLOL, "agent", "--listen", ":11436")
        self.eventually(lambda: "found 10.79.200.7:11434" in log.read_text(), "the node: " + log.read_text())
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 2}})
        ask = ("curl", "-s", "-m", "5", "-D", "-", "-o", "/dev/null", "http://127.0.0.1:11500/api/generate", "-d", body)
        self.eventually(lambda: "200 OK" in self.machine.run(*ask, check=False).stdout, "an answer")

    def test_nothing_is_announced_or_heard_when_it_is_turned_off(self):
        self.sim(self.other, 11434)
        self.start(self.other, SOLLOL, "agent", "--listen", ":11436")
        self.eventually(lambda: json.loads(self.discover("--json")), "the node")
        self.assertEqual(json.loads(self.discover("--json", "--no-mdns")), [])

    def test_without_a_daemon_or_a_bus_it_says_so_and_goes_on(self):
        done = self.machine.run("env", "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere", SOLLOL, "discover", "--verbose",
                                check=False)
        self.assertIn("no multicast DNS", done.stdout)


if __name__ == "__main__":
    if not (DAEMON and shutil.which("dbus-daemon")):
        print("skipped: avahi-daemon and dbus-daemon are needed (SOLLOL_AVAHI_DAEMON names one that is not installed)")
        sys.exit(hosts.SKIPPED)
    hosts.enter()
    unittest.main(verbosity=1)
