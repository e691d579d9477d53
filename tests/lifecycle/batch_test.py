"""`sollol batch` as a process: what ends it loses nothing, and the same command goes on."""

import json
import os
import pty
import random
import signal
import subprocess
import unittest
import urllib.request

from common import SOLLOL, LifecycleTest, eventually

WIDTH = 4


def prompt_line(number, tokens=20, **more):
    return {"model": "llama3.2", "prompt": f"line {number}", "options": {"num_predict": tokens}} | more


class Batch(LifecycleTest):
    def write(self, lines):
        path = self.folder / "in.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        self.output = self.folder / "out.jsonl"
        return path

    def batch(self, *arguments, env=None):
        return self.start("batch", str(self.folder / "in.jsonl"), str(self.output), *arguments, env=env)

    def fleet(self, **options):
        """Simulated nodes with counters; `--node` flags of machines of their own."""
        urls = self.nodes(2, **options)
        return [flag for i, url in enumerate(urls) for flag in ("--node", f"{url},name=n{i},host=h{i}")]

    def results(self):
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def test_a_kill_at_any_point_loses_no_result_and_repeats_only_what_was_in_flight(self):
        nodes = self.fleet(rate=400)
        count = 60
        self.write([prompt_line(i) for i in range(count)])
        seed = random.SystemRandom().randrange(2**32)
        chance = random.Random(seed)
        kills, seen = 0, {}
        while True:
            process = self.batch(*nodes, "--concurrency", str(WIDTH), "--as-they-finish")
            target = len(seen) + chance.randrange(1, 12)
            written = lambda: self.output.exists() and self.output.read_bytes().count(b"\n")
            eventually(lambda: process.process.poll() is not None or written() >= target, "results")
            if process.process.poll() is not None:
                break
            process.kill()
            kills += 1
            whole = [line for line in self.output.read_text().split("\n")[:-1]]
            for result in map(json.loads, whole):
                # What has stood in the output once is never worked out anew.
                known = seen.setdefault(result["line"], result)
                self.assertEqual(known, result, f"seed {seed}")
        self.assertEqual(process.end(), 0, process.text)
        self.assertGreaterEqual(kills, 2)
        final = {result["line"]: result for result in self.results()}
        self.assertEqual(sorted(final), list(range(1, count + 1)))
        self.assertEqual(len(self.results()), count)
        for line, result in seen.items():
            self.assertEqual(final[line], result, f"seed {seed}")
        sent = self.total_requests()
        self.assertLessEqual(sent, count + kills * WIDTH, f"seed {seed}")

    def total_requests(self):
        with urllib.request.urlopen(f"http://{self.control}/nodes") as answer:
            nodes = json.load(answer)["nodes"]
        # Loading a model is a generation too, of the gateway's own.
        return sum(node["requests"].get("POST /api/generate", 0) - node["loads"] for node in nodes)

    def nodes(self, count=1, rate=200, slots=4, fields="", models=""):
        """As elsewhere, with counters to be asked."""
        path = self.folder / "fleet.toml"
        path.write_text("".join(
            f'[[node]]\nname = "n{i}"\nlisten = "127.0.1.{i + 1}:0"\nslots = {slots}\n{fields}\n'
            f'models = [{{ name = "llama3.2", decode_rate = {rate}, load_time = "20ms", answer_tokens = 100000 }},'
            f' {{ name = "nomic-embed-text", capabilities = ["embedding"], embedding_length = 8, load_time = "20ms" }}]\n'
            for i in range(count)))
        self.sim = self.start("sim", "--fleet", str(path), "--control", "127.0.0.1:0")
        self.control = self.sim.wait_line(r"control at http://(\S+:\d+)").group(1)
        self.sim.wait_line("simulated nodes ready")
        return [line.split(" at ")[1] for line in self.sim.text.splitlines() if line.startswith("simulated node ")]

    def test_ctrl_c_ends_what_is_in_flight_and_the_same_command_goes_on(self):
        nodes = self.fleet(rate=200)
        self.write([prompt_line(i) for i in range(40)])
        process = self.batch(*nodes, "--concurrency", "2", "--as-they-finish")
        eventually(lambda: self.output.exists() and self.output.read_bytes().count(b"\n") >= 3, "results")
        process.signal(signal.SIGINT)
        self.assertEqual(process.end(), 1)
        self.assertIn("the same command goes on", process.text)
        first = self.results()
        self.assertLess(len(first), 40)
        sent = self.total_requests()
        self.assertEqual(sent, len(first), "what was in flight was answered and kept")
        process = self.batch(*nodes)
        self.assertEqual(process.end(), 0, process.text)
        self.assertEqual([result["line"] for result in self.results()], list(range(1, 41)))
        self.assertIn(f"{len(first)} of them by earlier runs", process.text)
        self.assertEqual(self.total_requests(), 40)
        process = self.batch(*nodes)  # nothing is left to do
        self.assertEqual(process.end(), 0)
        self.assertEqual(self.total_requests(), 40)

    def test_ctrl_c_twice_leaves_at_once(self):
        nodes = self.fleet(rate=5)
        self.write([prompt_line(i, 10_000) for i in range(4)])
        process = self.batch(*nodes)
        eventually(lambda: self.total_requests() >= 2, "requests")
        process.signal(signal.SIGINT)
        process.wait_line("requests in flight are done")
        process.signal(signal.SIGINT)
        self.assertEqual(process.end(), 1)
        self.assertEqual(self.results(), [])

    def test_both_forms_and_errors_of_single_lines(self):
        nodes = self.fleet(rate=2000)
        self.write([
            prompt_line(1),
            {"custom_id": "two", "method": "POST", "url": "/v1/chat/completions",
             "body": {"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}},
            {"model": "no-such-model", "prompt": "x"},
            "no JSON",
            {"custom_id": "five", "method": "POST", "url": "/v1/completions", "body": {"model": "no-such-model", "prompt": "x"}},
            "",
            {"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "options": {"num_predict": 5}},
            {"model": "llama3.2", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
            {"model": "nomic-embed-text", "input": [f"text {i}" for i in range(50)]},
        ])
        process = self.batch(*nodes, "--json")
        self.assertEqual(process.end(), 1, process.text)
        one, two, three, four, five, seven, eight, nine = self.results()
        self.assertEqual((one["line"], one["status"], one["usage"]["output_tokens"]), (1, 200, 20))
        self.assertIn(one["node"], ("n0", "n1"))
        self.assertGreater(one["timings"]["output_s"], 0)
        self.assertTrue(one["response"]["done"])
        self.assertEqual((two["custom_id"], two["response"]["status_code"], two["error"]), ("two", 200, None))
        self.assertEqual(two["response"]["body"]["object"], "chat.completion")
        self.assertEqual((three["line"], three["status"]), (3, 404))
        self.assertIn("no-such-model", three["error"])
        self.assertEqual(four["line"], 4)
        self.assertIn("JSON object", four["error"])
        self.assertEqual((five["custom_id"], five["response"]["status_code"]), ("five", 404))
        self.assertEqual(seven["response"]["message"]["role"], "assistant")
        self.assertEqual(eight["response"]["object"], "chat.completion")
        vectors = nine["response"]["embeddings"]
        self.assertEqual(len(vectors), 50)
        self.assertEqual(json.loads(process.text.splitlines()[-1])["failed"], 3)
        # In order: each vector is that of its text.
        for index in (0, 17, 49):
            url = self.sim.text.split(" at ")[1].split()[0]
            body = json.dumps({"model": "nomic-embed-text", "input": f"text {index}"}).encode()
            with urllib.request.urlopen(url + "/api/embed", body) as answer:
                self.assertEqual(json.load(answer)["embeddings"][0], vectors[index])

    def test_failures_end_it_where_told_and_can_be_asked_again(self):
        nodes = self.fleet(rate=2000)
        self.write([{"model": "no-such-model", "prompt": str(i)} for i in range(30)])
        process = self.batch(*nodes, "--max-failures", "3", "--concurrency", "1")
        self.assertEqual(process.end(), 1)
        self.assertIn("more than 3", process.text)
        self.assertLess(len(self.results()), 30)
        self.write([prompt_line(i) for i in range(30)])  # the lines are mended: other lines
        process = self.batch(*nodes)
        self.assertEqual(process.end(), 0, process.text)
        self.assertEqual([result["status"] for result in self.results()], [200] * 30)

    def test_failed_lines_are_kept_unless_asked_again(self):
        nodes = self.fleet(rate=2000, fields='faults = [{ kind = "error", status = 400, text = "not now", count = 3 }]')
        self.write([prompt_line(i) for i in range(8)])
        self.assertEqual(self.batch(*nodes).end(), 1)
        failed = [result for result in self.results() if "error" in result]
        self.assertGreater(len(failed), 0)
        self.assertEqual(self.batch(*nodes).end(), 1)
        self.assertEqual([result for result in self.results() if "error" in result], failed)
        self.assertEqual(self.batch(*nodes, "--retry-failed").end(), 0)
        self.assertEqual([result["status"] for result in self.results()], [200] * 8)

    def test_a_node_that_fails_for_a_while_costs_no_line(self):
        nodes = self.fleet(rate=2000, fields='faults = [{ kind = "busy", count = 4 }]')
        self.write([prompt_line(i) for i in range(12)])
        process = self.batch(*nodes)
        self.assertEqual(process.end(), 0, process.text)
        self.assertEqual([result["status"] for result in self.results()], [200] * 12)

    def test_a_running_gateway_is_asked_and_its_policy_is_its_own(self):
        urls = self.nodes(2, rate=2000)
        gateway = self.gateway("--node", urls[0], "--node", urls[1], ready=2)
        self.write([prompt_line(i) for i in range(10)])
        url = f"http://127.0.0.1:{gateway.port}"
        process = self.batch(env=self.environment(SOLLOL_GATEWAY=url))
        self.assertEqual(process.end(), 0, process.text)
        self.assertEqual(len(self.results()), 10)
        self.output.unlink()
        (self.folder / "out.jsonl.journal").unlink()
        process = self.batch(env=self.environment(OLLAMA_HOST=url))  # not named: found where Ollama would be
        self.assertEqual(process.end(), 0, process.text)
        self.assertEqual(len(self.results()), 10)
        wrong = self.batch("--gateway", url, "--policy", "random")
        self.assertEqual(wrong.end(), 2)
        self.assertIn("--policy", wrong.text)

    def test_a_terminal_has_a_bar_and_the_files_may_come_last(self):
        nodes = self.fleet(rate=400)
        self.write([prompt_line(i) for i in range(10)])
        main, terminal = pty.openpty()
        with os.fdopen(main, "rb", buffering=0) as seen:
            process = subprocess.Popen([SOLLOL, "batch", *nodes, str(self.folder / "in.jsonl"), str(self.output)],
                                       stderr=terminal, env=self.environment())
            os.close(terminal)
            shown = b""
            try:
                while piece := seen.read(4096):
                    shown += piece
            except OSError:
                pass  # the other end is gone
            self.assertEqual(process.wait(), 0, shown)
        self.assertRegex(shown, rb"\r\[#+\.+\] [1-9]/10  [0-9.]+/s")
        self.assertRegex(shown, rb"n0 \d+%")
        self.assertIn(b"10 of 10 lines done", shown)

    def test_a_gateway_that_is_killed_and_comes_back_costs_no_line(self):
        urls = self.nodes(2, rate=100)
        nodes = ["--node", urls[0], "--node", urls[1]]
        gateway = self.gateway(*nodes, ready=2)
        self.write([prompt_line(i) for i in range(30)])
        process = self.batch("--gateway", f"http://127.0.0.1:{gateway.port}", "--as-they-finish")
        eventually(lambda: self.output.exists() and self.output.read_bytes().count(b"\n") >= 5, "results")
        gateway.kill()
        self.gateway(*nodes, listen=f"127.0.0.1:{gateway.port}", ready=2)
        self.assertEqual(process.end(), 0, process.text)
        self.assertEqual(sorted(result["line"] for result in self.results()), list(range(1, 31)))
        self.assertEqual([result["status"] for result in self.results()], [200] * 30)

    def test_what_cannot_be_is_named(self):
        self.write([prompt_line(1)])
        nobody = self.batch("--gateway", "http://127.0.0.1:1")
        self.assertEqual(nobody.end(), 3, nobody.text)
        dead = self.batch("--node", "http://127.0.0.1:1")
        self.assertEqual(dead.end(), 3, dead.text)
        self.assertIn("no usable node", dead.text)
        self.output = self.folder / "mine.jsonl"
        self.output.write_text("mine\n")
        mine = self.batch("--node", "http://127.0.0.1:1")
        self.assertEqual(mine.end(), 1)
        self.assertIn("move it away", mine.text)
        self.assertEqual(self.output.read_text(), "mine\n")
        self.assertEqual(self.batch("--concurrency", "many").end(), 2)

    def test_two_at_one_output_are_refused(self):
        nodes = self.fleet(rate=5)
        self.write([prompt_line(i, 10_000) for i in range(4)])
        first = self.batch(*nodes)
        eventually(lambda: self.total_requests() >= 1, "requests")
        second = self.batch(*nodes)
        self.assertEqual(second.end(), 1)
        self.assertIn("another batch", second.text)
        first.kill()


if __name__ == "__main__":
    unittest.main()
