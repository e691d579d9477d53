"""A second gateway on one address: refused by accident, taken over on purpose, without a lost connection."""

import contextlib
import http.client
import signal
import socket
import sqlite3
import threading
import time
import unittest

from common import LifecycleTest, Stream, eventually, node_list, request

HAND_OVERS = 20


class Client(threading.Thread):
    """Opens a connection for each request, one after the other, until told to stop."""

    def __init__(self, port, bound=200_000):
        super().__init__(daemon=True)
        self.port, self.bound = port, bound
        self.failures, self.answered, self.stopping = [], 0, False
        self.start()

    def run(self):
        for _ in range(self.bound):
            if self.stopping:
                return
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    connection.sendall(b"GET /api/version HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    answer = b""
                    while piece := connection.recv(4096):
                        answer += piece
                if b" 200 OK\r\n" not in answer.split(b"\n")[0] + b"\n" or b"version" not in answer:
                    self.failures.append(answer[:80])
                self.answered += 1
            except OSError as error:
                self.failures.append(repr(error))

    def end(self):
        self.stopping = True
        self.join(60)


class KeptClient(Client):
    """Keeps its connection as long as it may, and opens the next when it was told to."""

    def run(self):
        connection = None
        for _ in range(self.bound):
            if self.stopping:
                break
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                connection.request("GET", "/api/version")
                answer = connection.getresponse()
                if answer.status != 200 or b"version" not in answer.read():
                    self.failures.append(answer.status)
                self.answered += 1
                if answer.getheader("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection = None
        if connection:
            connection.close()


class AskingClient(Client):
    """Streams a short answer on a connection of its own, again and again."""

    def run(self):
        for _ in range(self.bound):
            if self.stopping:
                return
            stream = Stream(self.port, 8)
            if stream.done():
                self.answered += 1
            else:
                self.failures.append((stream.error, stream.status, stream.records[-1:]))


class HandOver(LifecycleTest):
    def test_an_accidental_second_gateway_is_told_both_ways_out(self):
        gateway = self.gateway("--node", self.nodes()[0])
        second = self.start("up", "--listen", f"127.0.0.1:{gateway.port}", "--no-node-file")
        self.assertEqual(second.end(), 1)
        self.assertIn("a sollol gateway serves there already", second.text)
        self.assertIn("--take-over", second.text)
        self.assertIn("--listen 127.0.0.1:PORT", second.text)

    def test_no_connection_is_refused_or_reset(self):
        url = self.nodes(rate=1000)[0]
        gateway = self.gateway("--node", url, "--workers", "2", "--log-access", "off")
        address = f"127.0.0.1:{gateway.port}"
        clients = [kind(gateway.port) for kind in (Client, Client, KeptClient, AskingClient)]
        for number in range(HAND_OVERS):
            workers = "213"[number % 3]  # more, fewer and as many as before
            after = self.gateway("--node", url, "--take-over", "--workers", workers, "--log-access", "off",
                                 listen=address)
            self.assertEqual(gateway.end(), 0, gateway.text)
            gateway = after
        for client in clients:
            client.end()
        answered = sum(client.answered for client in clients)
        print(f"{HAND_OVERS} hand-overs: {answered} requests, "
              f"{sum(len(client.failures) for client in clients)} failures", flush=True)
        for client in clients:
            self.assertEqual(client.failures, [])
        self.assertGreater(answered, HAND_OVERS * 10)

    def test_streams_of_the_old_one_are_finished_and_the_new_one_knows_its_nodes(self):
        urls = self.nodes(2, rate=40)
        state = self.folder / "state.db"
        old = self.gateway("--node", urls[0], "--state-file", str(state))
        request(old.port, "POST", "/sollol/v1/nodes", {"url": urls[1], "name": "added"})
        eventually(lambda: len([n for n in node_list(old.port) if n["state"] == "healthy"]) == 2, "both")
        stream = Stream(old.port, 400).begun()
        new = self.start("up", "--listen", f"127.0.0.1:{old.port}", "--node", urls[0], "--take-over",
                         "--state-file", str(state))
        old.wait_line("another gateway has taken over: finishing")
        # From here on only the new one accepts; it must not have to learn first.
        states = {node["name"]: node["state"] for node in node_list(old.port)}
        self.assertEqual(set(states.values()), {"healthy"})
        self.assertIn("added", states)
        status, _, _ = request(old.port, "POST", "/api/generate",
                               {"model": "llama3.2", "prompt": "x", "options": {"num_predict": 3}})
        self.assertEqual(status, 200)
        self.assertTrue(stream.is_alive())
        self.assertTrue(stream.done(), stream.error)
        self.assertEqual(old.end(), 0)
        new.signal(signal.SIGTERM)
        self.assertEqual(new.end(), 0)
        with contextlib.closing(sqlite3.connect(state)) as database:
            self.assertIn(("added",), database.execute("SELECT name FROM node").fetchall())

    def test_a_take_over_that_fails_half_way_harms_nothing(self):
        gateway = self.gateway("--node", self.nodes()[0])
        client = Client(gateway.port)
        for last_step in (b"", b"prepare", b"sockets"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as half:
                half.settimeout(10)
                half.connect(f"\0sollol/127.0.0.1:{gateway.port}")
                if last_step:
                    half.send(last_step)
                    half.recvmsg(256, 4096)
        time.sleep(0)
        seen = client.answered
        eventually(lambda: client.answered > seen + 20, "answers")
        client.end()
        self.assertEqual(client.failures, [])

    def test_without_a_gateway_to_take_over_from_it_starts_as_usual(self):
        with socket.socket() as probe:  # a port that is free now
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        gateway = self.gateway("--node", self.nodes()[0], "--take-over", listen=f"127.0.0.1:{port}")
        self.assertIn("nobody to take over from", gateway.text)


if __name__ == "__main__":
    unittest.main()
