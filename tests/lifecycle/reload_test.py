"""SIGHUP: configuration and nodes are taken up anew without touching a request."""

import http.client
import json
import os
import signal
import threading
import unittest

from common import LifecycleTest, Stream, eventually, node_list, request


class Reload(LifecycleTest):
    def configure(self, text, nodes):
        """sollol.toml and the node file of this test."""
        (self.folder / "sollol.toml").write_text(text)
        (self.folder / ".synapticllamas_nodes.json").write_text(json.dumps({"nodes": nodes}))

    def up(self, **options):
        return self.gateway("--config", str(self.folder / "sollol.toml"), **options)

    def reload(self, gateway, expect="reloaded: "):
        seen = len(gateway.lines)
        gateway.signal(signal.SIGHUP)
        eventually(lambda: any(expect in line for line in gateway.lines[seen:]), f"'{expect}' in the log")
        return "\n".join(gateway.lines[seen:])

    def names(self, gateway):
        return {node["name"]: node for node in node_list(gateway.port)}

    def test_nodes_are_added_changed_and_removed_while_streams_run(self):
        urls = self.nodes(3, rate=40)
        self.configure("", [{"url": urls[0], "name": "a"}, {"url": urls[1], "name": "b"}])
        gateway = self.up(ready=2)
        streams = [Stream(gateway.port, 100) for _ in range(2)]
        for stream in streams:
            stream.begun()
        self.assertEqual(sorted(node["in_flight"] for node in node_list(gateway.port)), [1, 1])
        before = self.names(gateway)["a"]
        self.configure("", [{"url": urls[0], "name": "first", "priority": 2, "slots": 3},
                            {"url": urls[2], "name": "c"}])
        log = self.reload(gateway)
        self.assertIn("1 nodes added, 1 changed, 1 removed", log)
        self.assertIn("node b: no longer configured", log)
        now = self.names(gateway)
        self.assertEqual(now["first"]["priority"], 2)
        self.assertEqual(now["first"]["requests"], before["requests"], "what is known of it stays")
        self.assertEqual([model["limit"] for model in now["first"]["models"]], [3])
        self.assertEqual(now["b"]["admin"], "draining")
        for stream in streams:
            self.assertTrue(stream.done(), stream.error)
        eventually(lambda: "b" not in self.names(gateway), "the end of b")
        eventually(lambda: self.names(gateway)["c"]["state"] == "healthy", "c")
        status, headers, _ = request(gateway.port, "POST", "/api/generate",
                                     {"model": "llama3.2", "prompt": "x", "stream": False,
                                      "options": {"num_predict": 3}})
        self.assertEqual((status, headers["X-Sollol-Node"]), (200, "c"))

    def test_a_node_that_comes_back_and_names_that_are_swapped(self):
        urls = self.nodes(2)
        two = [{"url": urls[0], "name": "a"}, {"url": urls[1], "name": "b"}]
        self.configure("", two)
        gateway = self.up(ready=2)
        self.configure("", two[:1])
        self.reload(gateway)
        eventually(lambda: "b" not in self.names(gateway), "the end of b")
        self.configure("", [{"url": urls[0], "name": "b"}, {"url": urls[1], "name": "a"}])
        self.reload(gateway)
        eventually(lambda: self.names(gateway).get("a", {}).get("url") == urls[1], "the swap")
        self.assertEqual(self.names(gateway)["b"]["url"], urls[0])

    def test_nodes_added_at_run_time_stay(self):
        urls = self.nodes(2)
        self.configure("", [{"url": urls[0], "name": "a"}])
        gateway = self.up()
        status, _, _ = request(gateway.port, "POST", "/sollol/v1/nodes", {"url": urls[1], "name": "mine"})
        self.assertEqual(status, 201)
        self.reload(gateway)
        self.assertEqual(sorted(self.names(gateway)), ["a", "mine"])

    def test_a_faulty_file_changes_nothing_and_names_line_and_field(self):
        urls = self.nodes(1)
        self.configure("", [{"url": urls[0], "name": "a"}])
        gateway = self.up()
        self.configure('[queue]\nmax_waiting = "many"\n', [])
        log = self.reload(gateway, "nothing has changed")
        self.assertIn("sollol.toml, line 2: queue.max_waiting: expected a whole number", log)
        self.configure("", [{"url": urls[0], "name": "a"}, {"url": urls[0], "priority": "high"}])
        log = self.reload(gateway, "nothing has changed")
        self.assertRegex(log, r"line 1: nodes\[1\]\.priority: expected a whole number")
        (self.folder / ".synapticllamas_nodes.json").write_text('{"nodes": [')
        self.assertIn("line 1", self.reload(gateway, "nothing has changed"))
        self.configure('[log]\naccess = "/nowhere/access.log"\n', [])
        self.assertIn("log.access: cannot open", self.reload(gateway, "nothing has changed"))
        self.assertEqual(list(self.names(gateway)), ["a"])

    def test_settings_are_applied_or_named(self):
        urls = self.nodes(1)
        self.configure("", [{"url": urls[0], "name": "a"}])
        gateway = self.up()
        big = {"model": "llama3.2", "prompt": "x" * 4000, "stream": False, "options": {"num_predict": 1}}
        self.assertEqual(request(gateway.port, "POST", "/api/generate", big)[0], 200)
        origin = {"Origin": "https://app.example"}
        self.assertEqual(request(gateway.port, "GET", "/api/tags", headers=origin)[0], 403)
        self.configure('workers = 7\npolicy = "random"\n[limits]\nintent_body_bytes = 2000\n'
                       '[cors]\norigins = ["https://app.example"]\n[log]\nlevel = "warn"\n',
                       [{"url": urls[0], "name": "a"}])
        log = self.reload(gateway, "takes a restart")
        self.assertIn("workers changed", log)
        self.assertEqual(request(gateway.port, "POST", "/api/generate", big)[0], 413)
        self.assertEqual(request(gateway.port, "GET", "/api/tags", headers=origin)[0], 200)
        status = json.loads(request(gateway.port, "GET", "/sollol/v1/status")[2])
        self.assertEqual(status["policy"], "random")

    def test_the_access_log_is_opened_anew(self):
        urls = self.nodes(1)
        log = self.folder / "access.log"
        self.configure(f'[log]\naccess = "{log}"\n', [{"url": urls[0], "name": "a"}])
        gateway = self.up()
        request(gateway.port, "GET", "/api/version")
        eventually(lambda: "/api/version" in log.read_text(), "a line")
        os.rename(log, self.folder / "access.log.1")
        self.reload(gateway)
        request(gateway.port, "GET", "/api/tags")
        eventually(lambda: "/api/tags" in log.read_text(), "a line in the new file")

    def test_no_request_is_lost_while_reloading_again_and_again(self):
        urls = self.nodes(3, rate=2000, slots=8)
        nodes = [{"url": url, "name": f"n{i}"} for i, url in enumerate(urls)]
        self.configure("", nodes)
        gateway = self.up(ready=3)
        failures, answered, stop = [], [0], threading.Event()

        def client():
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
            body = json.dumps({"model": "llama3.2", "prompt": "x", "stream": False,
                               "options": {"num_predict": 5}})
            while not stop.is_set():
                try:
                    connection.request("POST", "/api/generate", body)
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status != 200:
                        failures.append(answer.status)
                    answered[0] += 1
                except Exception as error:
                    failures.append(repr(error))
                    return

        clients = [threading.Thread(target=client) for _ in range(4)]
        for thread in clients:
            thread.start()
        for round_number in range(20):
            kept = [node for i, node in enumerate(nodes) if i != round_number % 3]
            self.configure(f"[queue]\nmax_waiting = {100 + round_number}\n", kept)
            self.reload(gateway)
        stop.set()
        for thread in clients:
            thread.join(30)
        self.assertEqual(failures, [])
        self.assertGreater(answered[0], 20)


if __name__ == "__main__":
    unittest.main()
