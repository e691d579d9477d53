"""SIGTERM and SIGINT: what is told to whom while the gateway ends."""

import json
import signal
import socket
import threading
import time
import unittest

from common import LifecycleTest, Stream, eventually, request


class Drain(LifecycleTest):
    def test_running_stream_is_finished_and_new_connections_are_refused(self):
        gateway = self.gateway("--node", self.nodes(rate=40)[0])
        stream = Stream(gateway.port, 240).begun()
        gateway.signal(signal.SIGTERM)
        gateway.wait_line("stopping: finishing")

        def refused():
            try:
                socket.create_connection(("127.0.0.1", gateway.port), timeout=5).close()
                return False
            except ConnectionRefusedError:
                return True
        eventually(refused, "refusal of a new connection")
        self.assertTrue(stream.is_alive(), "the stream goes on")
        self.assertTrue(stream.done(), f"{stream.error} {stream.records[-1:]}")
        self.assertEqual(stream.records[-1]["eval_count"], 240)
        self.assertEqual(gateway.end(), 0)

    def test_idle_connection_is_closed_after_the_grace_and_one_that_asks_is_answered(self):
        gateway = self.gateway("--node", self.nodes()[0], "--drain-idle-grace", "2")
        idle = socket.create_connection(("127.0.0.1", gateway.port))
        asking = socket.create_connection(("127.0.0.1", gateway.port))
        for connection in (idle, asking):
            connection.settimeout(30)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"Ollama is running", connection.recv(4096))
        gateway.signal(signal.SIGTERM)
        gateway.wait_line("stopping: finishing")
        answer = b""
        while b"Connection: close" not in answer:  # from when the worker has been told
            asking.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = asking.recv(4096)
            self.assertIn(b"Ollama is running", answer)
        self.assertEqual(asking.recv(4096), b"")
        self.assertEqual(idle.recv(4096), b"", "closed, not reset")
        self.assertEqual(gateway.end(), 0)

    def test_a_request_whose_head_has_begun_is_answered(self):
        gateway = self.gateway("--node", self.nodes()[0])
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
        kept = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        kept.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # after its answer the other head has been read too
        self.assertIn(b"Ollama is running", kept.recv(4096))
        gateway.signal(signal.SIGTERM)
        self.assertEqual(kept.recv(4096), b"", "the grace is over")
        connection.sendall(b"st: localhost\r\n\r\n")
        self.assertIn(b"Ollama is running", connection.recv(4096))
        self.assertEqual(gateway.end(), 0)
        connection.close()
        kept.close()

    def test_at_the_limit_streams_end_with_an_error_record_and_the_queue_gets_503(self):
        gateway = self.gateway("--node", self.nodes(rate=5, slots=1)[0], "--slots", "1",
                               "--drain-timeout", "1")
        stream = Stream(gateway.port, 400).begun()
        waiting = []
        body = {"model": "llama3.2", "prompt": "x", "stream": False}
        threads = [threading.Thread(target=lambda: waiting.append(
            request(gateway.port, "POST", "/api/generate", body))) for _ in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: json.loads(request(gateway.port, "GET", "/sollol/v1/status")[2])["queued"] == 3,
                   "three waiting requests")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)
        for thread in threads:
            thread.join(10)
        self.assertEqual([status for status, _, _ in waiting], [503] * 3)
        for _, headers, text in waiting:
            self.assertIn("Retry-After", headers)
            self.assertEqual(headers.get("Connection"), "close")
            self.assertIn("shutting down", json.loads(text)["error"])
        stream.join(10)
        self.assertIsNone(stream.error, "the framing is complete")
        self.assertIn("shutting down", stream.records[-1]["error"])

    def test_a_queued_request_is_served_when_there_is_time(self):
        gateway = self.gateway("--node", self.nodes(rate=100, slots=1)[0], "--slots", "1")
        first = Stream(gateway.port, 60).begun()
        second = Stream(gateway.port, 20)
        eventually(lambda: json.loads(request(gateway.port, "GET", "/sollol/v1/status")[2])["queued"] == 1,
                   "a waiting request")
        gateway.signal(signal.SIGTERM)
        self.assertTrue(first.done())
        self.assertTrue(second.done())
        self.assertEqual(second.headers.get("Connection"), "close")
        self.assertEqual(gateway.end(), 0)

    def test_connections_in_the_backlog_are_served(self):
        gateway = self.gateway("--node", self.nodes()[0], "--workers", "1")
        gateway.signal(signal.SIGSTOP)  # nothing is accepted while the kernel completes these
        connections = []
        for _ in range(50):
            connections.append(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))
            connections[-1].sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        gateway.signal(signal.SIGTERM)
        gateway.signal(signal.SIGCONT)
        for connection in connections:
            self.assertIn(b"Ollama is running", connection.recv(4096))
        self.assertEqual(gateway.end(), 0)

    def test_a_new_connection_is_served_or_refused_and_never_reset(self):
        url = self.nodes()[0]
        ends, answered = [], [0]

        def client(port):
            """One connection after the other, until one fails."""
            for _ in range(100_000):
                try:
                    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                        answer = b""
                        while piece := connection.recv(4096):
                            answer += piece
                    if not answer.endswith(b"Ollama is running"):
                        ends.append(answer)
                        return
                    answered[0] += 1
                except OSError as error:
                    ends.append(type(error))
                    return

        for _ in range(5):
            gateway = self.gateway("--node", url, "--workers", "2", "--log-access", "off", "--drain-idle-grace", "0.5")
            clients = [threading.Thread(target=client, args=(gateway.port,)) for _ in range(4)]
            before = answered[0]
            for thread in clients:
                thread.start()
            eventually(lambda: answered[0] > before + 50, "load")
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.end(), 0)
            for thread in clients:
                thread.join(60)
        print(f"5 drains under load: {answered[0]} connections served, then {len(ends)} refused", flush=True)
        self.assertEqual(set(ends), {ConnectionRefusedError})

    def test_progress_is_logged(self):
        gateway = self.gateway("--node", self.nodes(rate=20)[0])
        stream = Stream(gateway.port, 140).begun()
        gateway.signal(signal.SIGTERM)
        gateway.wait_line(r"finishing: 1 requests run, 0 of them queued, \d+ s left: .*llama3.2 at ")
        self.assertTrue(stream.done())
        self.assertEqual(gateway.end(), 0)

    def test_a_second_signal_ends_at_once(self):
        gateway = self.gateway("--node", self.nodes(rate=2)[0])
        stream = Stream(gateway.port, 1000).begun()
        gateway.signal(signal.SIGINT)
        gateway.wait_line("stopping: finishing")
        gateway.signal(signal.SIGINT)
        began = time.monotonic()
        self.assertEqual(gateway.end(), 1)
        self.assertLess(time.monotonic() - began, 15)
        stream.join(10)
        self.assertFalse(stream.done(), "never looks complete")
        self.assertIsNotNone(stream.error)


if __name__ == "__main__":
    unittest.main()
