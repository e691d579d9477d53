"""Out of file descriptors: nothing spins, no node is blamed, and it passes."""

import http.server
import json
import os
import resource
import socket
import threading
import time
import unittest

from common import LifecycleTest, Stream, eventually, node_list, request

LIMIT = 48
TOKENS = 100000  # of a stream that outlasts the test


def cpu_s(pid):
    """Processor time that the process has used."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ClosingNode(http.server.BaseHTTPRequestHandler):
    """A node that closes each connection, so that every probe needs a descriptor. Counts them."""

    asked = 0
    answers = {
        "/api/version": {"version": "0.33.0"},
        "/api/ps": {"models": []},
        "/api/tags": {"models": [{"name": "m:latest", "model": "m:latest", "digest": "d", "size": 1,
                                  "modified_at": "2026-01-01T00:00:00Z"}]},
    }

    def do_GET(self):
        type(self).asked += self.path == "/api/version"
        text = json.dumps(self.answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments):
        pass


class Descriptors(LifecycleTest):
    """Idle connections make room for others, so only work that runs can use descriptors up."""

    def exhausted(self, *nodes):
        """A gateway whose running streams hold all its descriptors; the streams and what the first
        request was told that found none."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        flags = [flag for node in nodes for flag in ("--node", node)]
        gateway = self.gateway(*flags, "--slots", str(2 * LIMIT), "--workers", "1", "--log-access", "off",
                               ready=len(nodes), preexec=limit)
        streams = []
        while True:
            self.assertLess(len(streams), LIMIT, "streams do not use descriptors up")
            stream = Stream(gateway.port, TOKENS).begun()
            if stream.status != 200:
                return gateway, streams, stream
            streams.append(stream)

    def flood(self, gateway):
        others = [socket.create_connection(("127.0.0.1", gateway.port), timeout=30) for _ in range(LIMIT + 20)]
        gateway.wait_line(r"\[warning\].*Too many open files")
        return others

    def release(self, streams, others):
        for connection in others:
            connection.close()
        for stream in streams:
            stream.leave()

    def test_a_probe_that_cannot_be_sent_takes_no_node_down(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ClosingNode)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        working = self.nodes(slots=2 * LIMIT, rate=50)[0]
        gateway, streams, _ = self.exhausted(working, f"http://127.0.0.1:{server.server_port}")
        others = self.flood(gateway)

        def probes_have_ceased():
            before = ClosingNode.asked
            time.sleep(1)  # twenty probes would have been sent
            return ClosingNode.asked == before

        eventually(probes_have_ceased, "probes that cannot be sent")
        self.release(streams, others)
        seen = ClosingNode.asked
        eventually(lambda: ClosingNode.asked > seen, "probes again")
        self.assertEqual([node["state"] for node in node_list(gateway.port)], ["healthy"] * 2)
        self.assertNotIn("-> down", gateway.text)
        server.shutdown()
        server.server_close()

    def test_accepting_pauses_and_nodes_stay(self):
        gateway, streams, refused = self.exhausted(self.nodes(slots=2 * LIMIT, rate=50)[0])
        self.assertEqual(refused.status, 503)
        self.assertIn("Retry-After", refused.headers)
        self.assertIn("ulimit -n", refused.records[0]["error"])

        others = self.flood(gateway)
        began, used = time.monotonic(), cpu_s(gateway.pid)
        time.sleep(2)  # the window that is measured
        share = (cpu_s(gateway.pid) - used) / (time.monotonic() - began)
        print(f"processor used while out of descriptors: {100 * share:.1f} %", flush=True)
        self.assertLess(share, 0.5, "accepting spins")
        self.assertLess(gateway.text.count("[warning]"), 5)
        told = [len(stream.records) for stream in streams]
        eventually(lambda: all(len(s.records) > n for s, n in zip(streams, told)), "the streams going on")

        self.release(streams, others)
        body = {"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 3}}
        eventually(lambda: request(gateway.port, "POST", "/api/generate", body)[0] == 200, "an answer again")
        node = node_list(gateway.port)[0]
        self.assertEqual((node["state"], node["failures"]), ("healthy", 0))
        self.assertNotIn("-> down", gateway.text)


if __name__ == "__main__":
    unittest.main()
