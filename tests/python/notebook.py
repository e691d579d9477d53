"""The notebook of the examples, run on a network of three simulated machines, which are network namespaces that this
makes. `--write` keeps what came out in the notebook."""

import html
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "network"))
import hosts  # noqa: E402

ROOT = HERE.parents[1]
SOLLOL = os.environ.get("SOLLOL_BIN", str(ROOT / "build/release/src/cli/sollol"))
NOTEBOOK = ROOT / "examples/python/sollol.ipynb"
RATES = {"10.9.66.154": 100, "10.9.66.155": 200, "10.9.66.156": 400}  # tokens per second of each node
ADDRESSES = list(RATES)
WIDGET = "application/vnd.jupyter.widget-view+json"


def main():
    if sys.argv[1:2] == ["--execute"]:
        return execute(sys.argv[2])
    hosts.enter()
    with tempfile.TemporaryDirectory() as folder:
        book = run_on_three_machines(Path(folder))
    Outputs.book = book
    if sys.argv[1:] == ["--write"]:
        show_ended_bars(book)
        book.metadata.language_info = {"name": "python"}
        nbformat.write(book, NOTEBOOK)
    unittest.main(argv=sys.argv[:1], verbosity=1)


def execute(path):
    """Runs the notebook where this is, and writes it with its outputs."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(book, timeout=60, coalesce_streams=True).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)  # when it ran
    nbformat.write(book, path)


def run_on_three_machines(folder):
    """What the notebook becomes on a machine of its own, 10.9.66.1, beside the nodes."""
    room, own, *others = machines = [hosts.Host() for _ in range(2 + len(RATES))]
    try:
        lan = hosts.Switch(room)
        lan.plug(own, "eth0", "10.9.66.1/24")
        for machine, (address, rate) in zip(others, RATES.items()):
            lan.plug(machine, "eth0", f"{address}/24")
            start_node(machine, rate, folder / f"{address}.toml")
        path = folder / "executed.ipynb"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OLLAMA_", "SOLLOL_"))}
        subprocess.run(own.command(sys.executable, "-B", __file__, "--execute", str(path)), check=True, timeout=120,
                       env={**kept, "HOME": str(folder)})
        return nbformat.read(path, as_version=4)
    finally:
        for machine in machines:
            machine.stop()


def start_node(machine, rate, fleet):
    fleet.write_text(f"""
[[node]]
listen = "0.0.0.0:11434"
models = [
  {{ name = "llama3.2", decode_rate = {rate}, load_time = "50ms" }},
  {{ name = "nomic-embed-text", capabilities = ["embedding"], load_time = "50ms" }},
]
""")
    node = machine.start(SOLLOL, "sim", "--fleet", str(fleet), "--allow-remote", stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    if not any("ready" in line for line in node.stdout):
        raise RuntimeError("a simulated node did not start")


def widgets(book):
    """The state of each widget at the end, by its id."""
    states = book.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    return {name: widget["state"] for name, widget in states.items()}


def bars(book):
    """The outputs that are progress bars, each with what stands beside it at the end, as `24/24 [00:01<00:00, …]`."""
    states = widgets(book)
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if WIDGET in output.get("data", ()):
                box = states[output.data[WIDGET]["model_id"]]
                label = states[box["children"][-1].removeprefix("IPY_MODEL_")]["value"]
                yield output, html.unescape(label).replace("\u2007", " ").strip()


def show_ended_bars(book):
    """For whoever shows a notebook without widgets: the text of a bar is kept from its start."""
    for output, label in bars(book):
        output.data["text/plain"] = f"100%|{'█' * 10}| {label}"


class Outputs(unittest.TestCase):
    book = None

    def printed(self, words):
        """What the cell printed that has these words."""
        cell = next(cell for cell in self.book.cells if cell.cell_type == "code" and words in cell.source)
        return "".join(output.get("text", "") for output in cell.outputs)

    def test_the_nodes_are_found(self):
        lines = sorted(self.printed("OllamaPool()").splitlines())
        self.assertEqual([line.split()[0] for line in lines], [f"http://{address}:11434" for address in ADDRESSES])
        self.assertTrue(all("llama3.2:latest" in line for line in lines), lines)

    def test_a_chat_and_a_stream_have_text(self):
        for words in ("pool.chat", "stream=True"):
            self.assertRegex(self.printed(words), r"\w+ \w+")

    def test_texts_that_share_words_are_near(self):
        same, near, far = (float(line.split()[0]) for line in self.printed("embed_batch").splitlines())
        self.assertEqual(same, 1)
        self.assertGreater(near, far)

    def test_tasks_run_on_all_machines_with_a_bar(self):
        self.assertIn("3 at once", self.printed("pool.advise"))
        self.assertIn("24 of 24 done", self.printed("results[0]"))
        (_, label), = bars(self.book)
        self.assertRegex(label, r"^24/24 \[")

    def test_the_table_has_every_answer(self):
        rows = [line.split() for line in self.printed("'answers':>7").splitlines()[1:]]
        self.assertEqual([row[0] for row in rows], ADDRESSES)
        self.assertEqual(sum(int(row[1]) for row in rows), 24)

    def test_the_choice_is_explained(self):
        self.assertIn("3 machines, 3 nodes", self.printed("pool.explain"))


if __name__ == "__main__":
    main()
