"""Out of file descriptors: nothing spins, no node is blamed, and it passes."""

import http.client
import http.server
import json
import os
import resource
import socket
import threading
import time
import unittest

from common import LifecycleTest, eventually, request

LIMIT = 48


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
    @unittest.skip("TODO(test): idle connections now make room before descriptors run out; to be written anew")
    def test_a_probe_that_cannot_be_sent_takes_no_node_down(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ClosingNode)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        gateway = self.gateway("--node", f"http://127.0.0.1:{server.server_port}", "--workers", "1",
                               "--log-access", "off", preexec=limit)
        kept = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)

        def state():
            kept.request("GET", "/sollol/v1/nodes")
            return json.loads(kept.getresponse().read())["nodes"][0]["state"]

        self.assertEqual(state(), "healthy")
        others = [socket.create_connection(("127.0.0.1", gateway.port), timeout=30) for _ in range(LIMIT + 20)]

        def probes_have_ceased():
            before = ClosingNode.asked
            time.sleep(1)  # twenty probes would have been sent
            return ClosingNode.asked == before

        eventually(probes_have_ceased, "probes that cannot be sent")
        self.assertEqual(state(), "healthy")
        self.assertNotIn("-> down", gateway.text)
        for connection in others:
            connection.close()
        seen = ClosingNode.asked
        eventually(lambda: ClosingNode.asked > seen, "probes again")
        self.assertEqual(state(), "healthy")
        kept.close()
        server.shutdown()
        server.server_close()

    @unittest.skip("TODO(test): idle connections now make room before descriptors run out; to be written anew")
    def test_accepting_pauses_and_nodes_stay(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        gateway = self.gateway("--node", self.nodes()[0], "--workers", "1", "--log-access", "off", preexec=limit)
        body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False, "options": {"num_predict": 3}})

        # A connection that was there before goes on, and shows what is thought of the nodes.
        kept = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        def ask(method, path, payload=None):
            kept.request(method, path, payload)
            answer = kept.getresponse()
            return answer.status, answer.headers, answer.read()
        self.assertEqual(ask("GET", "/sollol/v1/nodes")[0], 200)

        others = [socket.create_connection(("127.0.0.1", gateway.port), timeout=30) for _ in range(LIMIT + 20)]
        gateway.wait_line(r"\[warning\].*out of file descriptors|\[warning\].*Too many open files")
        began, used = time.monotonic(), cpu_s(gateway.pid)
        time.sleep(2)  # the window that is measured
        share = (cpu_s(gateway.pid) - used) / (time.monotonic() - began)
        print(f"processor used while out of descriptors: {100 * share:.1f} %", flush=True)
        self.assertLess(share, 0.5, "accepting spins")

        status, headers, text = ask("POST", "/api/generate", body)
        self.assertEqual(status, 503, text)
        self.assertIn("Retry-After", headers)
        self.assertIn("ulimit -n", json.loads(text)["error"])
        node = json.loads(ask("GET", "/sollol/v1/nodes")[2])["nodes"][0]
        self.assertEqual((node["state"], node["failures"]), ("healthy", 0))
        self.assertNotIn("-> down", gateway.text)
        self.assertLess(gateway.text.count("[warning]"), 5)

        for connection in others:
            connection.close()
        eventually(lambda: request(gateway.port, "POST", "/api/generate", body)[0] == 200, "an answer again")
        kept.close()


if __name__ == "__main__":
    unittest.main()
