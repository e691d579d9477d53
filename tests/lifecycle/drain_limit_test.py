"""The time for draining is over: how whatever still runs is ended, route by route."""

import json
import signal
import socket
import threading
import time
import unittest

from common import LIMIT_S, LifecycleTest, eventually, node_list

PROMPT = {"model": "llama3.2", "prompt": "tell me"}
CHAT = {"model": "llama3.2", "messages": [{"role": "user", "content": "tell me"}]}


class RawStream(threading.Thread):
    """Sends bytes and keeps all that comes until the end of the connection."""

    def __init__(self, port, sent, reads=True):
        super().__init__(daemon=True)
        self.came, self.error = b"", None
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(LIMIT_S)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(sent)
        if reads:
            self.start()

    def run(self):
        try:
            while piece := self.socket.recv(65536):
                self.came += piece
        except OSError as error:
            self.error = error
        finally:
            self.socket.close()

    @property
    def status(self):
        return int(self.came.split(b" ", 2)[1])

    @property
    def payload(self):
        """The body, without chunk framing."""
        head, _, body = self.came.partition(b"\r\n\r\n")
        if b"chunked" not in head.lower():
            return body.decode()
        payload = b""
        while body:
            size, _, body = body.partition(b"\r\n")
            payload += body[:int(size, 16)]
            body = body[int(size, 16) + 2:]
        return payload.decode()


def post(path, body, **fields):
    text = json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lines}"
            f"Content-Length: {len(text)}\r\n\r\n").encode() + text


def unsent(port, peer_port):
    """Bytes that the kernel holds for a connection from `port`."""
    wanted = (f":{port:04X}", f":{peer_port:04X}")
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(wanted[0]) and fields[2].endswith(wanted[1]):
                return int(fields[4].split(":")[0], 16)
    return 0


def is_stuck(port, peer_port):
    """Nothing has moved for half a second, with something there to move."""
    before = unsent(port, peer_port)
    time.sleep(0.5)
    return 0 < before == unsent(port, peer_port)


class DrainLimit(LifecycleTest):
    def test_every_route_ends_in_its_own_words(self):
        url = self.nodes(rate=5, slots=16, fields='pull_rate = "1 MB"')[0]
        gateway = self.gateway("--node", url, "--slots", "16", "--drain-timeout", "1")
        streams = {
            "generate": post("/api/generate", PROMPT),
            "chat": post("/api/chat", CHAT),
            "openai chat": post("/v1/chat/completions", CHAT | {"stream": True}),
            "openai completions": post("/v1/completions", PROMPT | {"stream": True}),
            "openai responses": post("/v1/responses", {"model": "llama3.2", "input": "x", "stream": True}),
            "anthropic": post("/v1/messages", CHAT | {"stream": True, "max_tokens": 5000}),
            "pull": post("/api/pull", {"model": "new-model"}),
        }
        whole = {
            "generate": post("/api/generate", PROMPT | {"stream": False}),
            "openai": post("/v1/chat/completions", CHAT),
            "anthropic": post("/v1/messages", CHAT | {"max_tokens": 5000}),
            "half a body": post("/api/chat", CHAT)[:-5],
        }
        begun = {name: RawStream(gateway.port, sent) for name, sent in streams.items()}
        waiting = {name: RawStream(gateway.port, sent) for name, sent in whole.items()}
        half_head = RawStream(gateway.port, b"POST /api/chat HT")
        for name, stream in begun.items():
            eventually(lambda: b"\r\n\r\n" in stream.came and len(stream.payload) > 0, f"{name}: the first token")
        eventually(lambda: node_list(gateway.port)[0]["in_flight"] >= 9, "all that is asked of the node")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)
        for name, stream in begun.items():
            with self.subTest(stream=name):
                stream.join(LIMIT_S)
                self.assertIsNone(stream.error)
                self.assertTrue(stream.came.endswith(b"0\r\n\r\n"), stream.came[-300:])
                last = [line for line in stream.payload.splitlines() if line][-1]
                self.assertIn("error", last)
                self.assertIn("shutting down", last)
        for name, stream in waiting.items():
            with self.subTest(whole=name):
                stream.join(LIMIT_S)
                self.assertIsNone(stream.error)
                self.assertEqual(stream.status, 503, stream.came)
                self.assertIn(b"Connection: close", stream.came)
                self.assertIn("shutting down", stream.payload)
                self.assertIn("error", json.loads(stream.payload))
        half_head.join(LIMIT_S)
        self.assertIsNone(half_head.error)

    def test_a_client_that_does_not_read_is_reset(self):
        url = self.nodes(rate=1_000_000, slots=4)[0]
        gateway = self.gateway("--node", url, "--drain-timeout", "0.5")
        long = PROMPT | {"options": {"num_predict": 100_000, "num_ctx": 131_072}}  # more than kernels buffer
        deaf = RawStream(gateway.port, post("/api/generate", long), reads=False)
        eventually(lambda: is_stuck(gateway.port, deaf.socket.getsockname()[1]), "full buffers")
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)
        deaf.start()
        deaf.join(LIMIT_S)
        self.assertFalse(deaf.came.endswith(b"0\r\n\r\n"), "it must not look complete")
        self.assertIsInstance(deaf.error, ConnectionResetError)


if __name__ == "__main__":
    unittest.main()
