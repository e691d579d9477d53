"""What outlives the process, and what a bad disk costs: one warning, never a request."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import unittest

from common import LifecycleTest, Process, SOLLOL, eventually, node_list, request


def generate(port, tokens=20):
    return request(port, "POST", "/api/generate", {"model": "llama3.2", "prompt": "x", "stream": False,
                                                   "options": {"num_predict": tokens}})[0]


def named(port, name):
    return next((node for node in node_list(port) if node["name"] == name), None)


class State(LifecycleTest):
    def up(self, *arguments, **options):
        return self.gateway("--state-file", str(self.folder / "state" / "state.db"),
                            "--state-interval", "0.1", *arguments, **options)

    def saved(self):
        """Name and admin of each node in the file."""
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "state.db")) as database:
            return dict(database.execute("SELECT name, admin FROM node"))

    def test_nodes_and_speeds_survive_a_stop_and_a_kill(self):
        urls = self.nodes(2)
        gateway = self.up("--node", urls[0] + ",name=a")
        for _ in range(3):
            self.assertEqual(generate(gateway.port), 200)
        request(gateway.port, "POST", "/sollol/v1/nodes", {"url": urls[1], "name": "added", "priority": 3})
        request(gateway.port, "POST", "/sollol/v1/nodes/added/drain")
        learnt = named(gateway.port, "a")["models"][0]["decode_tokens_per_s"]
        self.assertGreater(learnt, 0)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)

        gateway = self.up("--node", urls[0] + ",name=a")
        eventually(lambda: named(gateway.port, "a")["models"], "a's models")
        self.assertAlmostEqual(named(gateway.port, "a")["models"][0]["decode_tokens_per_s"], learnt, places=3)
        added = named(gateway.port, "added")
        self.assertEqual((added["admin"], added["priority"], added["origin"]), ("draining", 3, "admin"))
        request(gateway.port, "POST", "/sollol/v1/nodes/added/undrain")
        eventually(lambda: set(self.saved().values()) == {"enabled"}, "the change on disk")
        gateway.signal(signal.SIGKILL)
        gateway.end()

        gateway = self.up("--node", urls[0] + ",name=a")
        self.assertEqual(named(gateway.port, "added")["admin"], "enabled")
        request(gateway.port, "DELETE", "/sollol/v1/nodes/added")
        gateway.signal(signal.SIGTERM)
        gateway.end()
        self.assertEqual(list(self.saved()), ["a"])

    def test_default_place_goes_by_port_and_off_keeps_nothing(self):
        url = self.nodes()[0]
        gateway = self.gateway("--node", url)  # any free port: nothing to come back to
        gateway.signal(signal.SIGTERM)
        gateway.end()
        port = gateway.port
        listen = f"127.0.0.1:{port}"
        gateway = self.gateway("--node", url, "--state-file", "off", listen=listen)
        gateway.signal(signal.SIGTERM)
        gateway.end()
        self.assertFalse((self.folder / ".local").exists())
        gateway = self.gateway("--node", url, listen=listen)
        gateway.signal(signal.SIGTERM)
        gateway.end()
        self.assertTrue((self.folder / ".local/state/sollol" / f"state-{port}.db").exists())

    def test_a_corrupt_file_costs_one_warning_and_is_kept(self):
        (self.folder / "state").mkdir()
        for text in ("[1,2]", '{"sollol_state": 99}', "\0" * 4096):
            (self.folder / "state" / "state.db").write_text(text)
            gateway = self.up("--node", self.nodes()[0])
            self.assertEqual(generate(gateway.port), 200)
            gateway.signal(signal.SIGTERM)
            self.assertEqual(gateway.end(), 0)
            self.assertEqual(gateway.text.count("[warning]"), 1, gateway.text)
            self.assertEqual((self.folder / "state" / "state.db.bad").read_text(), text)

    def test_odd_values_are_left_out(self):
        url = self.nodes()[0]
        gateway = self.up("--node", url + ",name=a")
        request(gateway.port, "POST", "/sollol/v1/nodes", {"url": "http://127.0.1.77:9", "name": "kept"})
        self.assertEqual(generate(gateway.port), 200)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)
        with contextlib.closing(sqlite3.connect(self.folder / "state" / "state.db")) as database:
            database.execute("UPDATE node SET priority = -4, slots = 1e99")
            database.execute("UPDATE replica SET slots = 'many', token_s = -5, load_s = 'x', service_s = NULL")
            database.execute("INSERT INTO node (url, name, added) VALUES ('http://', x'ff00', 1)")
            database.commit()
        gateway = self.up("--node", url + ",name=a")
        eventually(lambda: generate(gateway.port) == 200, "an answer")
        self.assertEqual(named(gateway.port, "kept")["priority"], 0)

    def bad_disk(self, gateway):
        """The gateway serves, warns once, and ends well."""
        gateway.wait_line("state file: cannot write")
        for number in range(4):
            request(gateway.port, "POST", "/sollol/v1/nodes",
                    {"url": f"http://127.0.1.99:{number + 1}", "name": f"n{number}"})
            self.assertEqual(generate(gateway.port), 200)
        gateway.signal(signal.SIGTERM)
        self.assertEqual(gateway.end(), 0)
        self.assertEqual(gateway.text.count("state file: cannot write"), 1, gateway.text)

    def test_a_folder_that_cannot_be(self):
        (self.folder / "state").write_text("a file where the folder should be")
        self.bad_disk(self.up("--node", self.nodes()[0]))

    @unittest.skipIf(os.environ.get("SANITIZE") == "thread", "the sanitizer needs files that grow")
    def test_files_that_may_not_grow(self):
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        self.bad_disk(self.up("--node", self.nodes()[0], preexec=limit))

    def test_a_full_disk(self):
        folder = self.folder / "small"
        folder.mkdir()
        script = (f"mount -t tmpfs -o size=4096 none {folder} && head -c 4096 /dev/zero > {folder}/filled && "
                  'exec "$@"')
        if subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", "true"], capture_output=True).returncode:
            self.skipTest("no mount of our own is permitted here")
        url = self.nodes()[0]
        gateway = Process(["unshare", "-m", "sh", "-c", script, "sh", SOLLOL, "up", "--listen", "127.0.0.1:0",
                           "--node", url, "--state-file", f"{folder}/state.db", "--state-interval", "0.1"],
                          env=self.environment())
        self._processes.append(gateway)
        gateway.port = int(gateway.wait_line(r"listening on http://\S+:(\d+)").group(1))
        eventually(lambda: generate(gateway.port) == 200, "an answer")
        self.bad_disk(gateway)


if __name__ == "__main__":
    unittest.main()
