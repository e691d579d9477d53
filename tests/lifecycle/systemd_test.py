"""sd_notify and socket activation, against the documented protocols."""

import os
import signal
import socket
import time
import unittest

from common import LifecycleTest, Stream, eventually, request


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(30)
        self.seen = []

    def wait(self, wanted, count=1):
        """Datagrams until one holds the line `wanted`, `count` times."""
        while True:
            message = self.socket.recv(4096).decode().split("\n")
            self.seen.append(message)
            if wanted in message:
                count -= 1
                if count == 0:
                    return message


class Notify(LifecycleTest):
    def test_ready_reloading_stopping(self):
        for address in (str(self.folder / "notify"), "\0sollol-test-%d" % os.getpid()):
            manager = Manager(address)
            env = self.environment(NOTIFY_SOCKET=address.replace("\0", "@"))
            gateway = self.gateway("--node", self.nodes()[0], env=env)
            manager.wait("READY=1")
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            gateway.signal(signal.SIGHUP)
            told = manager.wait("RELOADING=1")
            stamp = next(line for line in told if line.startswith("MONOTONIC_USEC="))
            self.assertGreaterEqual(int(stamp.split("=")[1]), before)
            manager.wait("READY=1")
            gateway.signal(signal.SIGTERM)
            told = manager.wait("STOPPING=1")
            self.assertTrue(any(line.startswith("STATUS=") for line in told))
            self.assertEqual(gateway.end(), 0)

    def test_watchdog_is_fed_while_threads_answer(self):
        address = str(self.folder / "notify")
        manager = Manager(address)
        env = self.environment(NOTIFY_SOCKET=address, WATCHDOG_USEC="400000")
        gateway = self.gateway("--node", self.nodes()[0], env=env)
        manager.wait("WATCHDOG=1", count=3)
        gateway.signal(signal.SIGSTOP)
        manager.socket.settimeout(0)
        try:
            while True:
                manager.socket.recv(4096)
        except BlockingIOError:
            pass
        gateway.signal(signal.SIGCONT)
        manager.socket.settimeout(30)
        manager.wait("WATCHDOG=1")

    def test_no_socket_or_a_dead_one_is_no_trouble(self):
        for address in ("", "/nowhere/at/all", "nonsense", "/" + "x" * 200):
            gateway = self.gateway("--node", self.nodes()[0], env=self.environment(NOTIFY_SOCKET=address))
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.end(), 0)


class Activation(LifecycleTest):
    def activated(self, sockets, *arguments):
        """A gateway that is given listening sockets as descriptors 3, 4 ..."""
        kept = [os.dup(one.fileno()) for one in sockets]
        high = [os.dup2(fd, 100 + i) for i, fd in enumerate(kept)]
        for fd in kept:
            os.close(fd)

        def prepare():
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
            os.environ["LISTEN_PID"] = str(os.getpid())

        # LISTEN_PID is known only after the fork: a shell's exec keeps the process.
        from common import SOLLOL, Process
        script = 'export LISTEN_PID=$$; exec "$@"'
        process = Process(["/bin/sh", "-c", script, "sh", SOLLOL, "up", "--health-interval", "0.05", *arguments],
                          env=self.environment(LISTEN_FDS=str(len(high))),
                          pass_fds=tuple(range(3, 3 + len(high))) + tuple(high), preexec=prepare)
        for fd in high:
            os.close(fd)
        self._processes.append(process)
        process.wait_line("listening on")
        return process

    def test_passed_sockets_are_served_and_the_next_process_serves_what_waits(self):
        url = self.nodes(rate=200)[0]
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(64)
            port = listener.getsockname()[1]
            waiting = socket.create_connection(("127.0.0.1", port), timeout=30)
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            first = self.activated([listener], "--node", url, "--workers", "2")
            self.assertIn(f":{port}", first.text)
            self.assertIn(b"Ollama is running", waiting.recv(4096))
            waiting.close()
            stream = Stream(port, 100).begun()
            first.signal(signal.SIGTERM)
            first.wait_line("stopping")
            self.assertTrue(stream.done(), stream.error)
            self.assertEqual(first.end(), 0)
            between = socket.create_connection(("127.0.0.1", port), timeout=30)  # nobody runs: it waits
            between.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            second = self.activated([listener], "--node", url, "--workers", "2")
            self.assertIn(b"Ollama is running", between.recv(4096))
            between.close()
            second.signal(signal.SIGTERM)
            self.assertEqual(second.end(), 0)

    def test_variables_meant_for_another_process_are_ignored(self):
        env = self.environment(LISTEN_FDS="1", LISTEN_PID="1")
        gateway = self.gateway("--node", self.nodes()[0], env=env)
        self.assertEqual(request(gateway.port, "GET", "/")[0], 200)


if __name__ == "__main__":
    unittest.main()
