"""The examples, run as a user runs them: against nodes, and through a gateway in front of three machines."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Process
from sollol import OllamaPool

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples/python"
NOT_PERMITTED = 77
PROGRAMS = ["documents", "batch", "retrieval", "research"]


@pytest.fixture(scope="module")
def machines(fleet):
    """A gateway that was told that each of its nodes is a machine of its own, so that tasks run at once."""
    words = [word for name, url in zip("abc", fleet.urls) for word in ("--node", f"{url},name={name},host={name}")]
    made = Process(["up", "--no-node-file", "--state-file", "off", "--listen", "127.0.0.1:0", *words], "listening on")
    yield next(word for line in made.lines for word in line.split() if word.startswith("http://127"))
    made.stop()


@pytest.fixture
def where(request, fleet, machines):
    """Where an example is sent, in its own words."""
    if request.param == "gateway":
        return ["--gateway", machines]
    return [word for url in fleet.urls for word in ("--node", url)]


both = pytest.mark.parametrize("where", ["gateway", "nodes"], indirect=True)


def run(name, *words, status=0):
    """What an example prints, and what it says beside."""
    done = subprocess.run([sys.executable, "-B", str(EXAMPLES / f"{name}.py"), *map(str, words)], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def asked_of(gateway):
    with OllamaPool(gateway=gateway) as pool:
        return pool.get_stats()["total_requests"]


@both
def test_a_document_has_its_sections(where):
    text, said = run("documents", "Cheese", "--sections", 4, *where)
    title, *sections = text.split("\n## ")
    assert title == "# Cheese\n" and len(sections) == 4
    for section in sections:
        heading, _, body = section.partition("\n\n")
        assert heading.strip() and body.strip()
    assert re.search(r"^4 sections, [1-9]\d* tokens$", said, re.MULTILINE)


def test_a_document_takes_a_request_for_the_outline_and_one_for_each_section(machines):
    before = asked_of(machines)
    run("documents", "--sections", 3, "--gateway", machines)
    assert asked_of(machines) - before == 1 + 3


@both
def test_a_batch_is_answered_in_order(where, tmp_path):
    prompts = [f"Prompt number {number}, with “quotes”" for number in range(20)]
    file = tmp_path / "prompts.txt"
    file.write_text("\n\n".join(prompts))
    text, said = run("batch", file, *where)
    answers = [json.loads(line) for line in text.splitlines()]
    assert [answer["prompt"] for answer in answers] == prompts
    assert all(answer["response"] and answer["tokens"] > 0 for answer in answers)
    assert "20 answered, 0 failed" in said
    kept = ["--keep", tmp_path / "kept.jsonl"]
    first, again = (run("batch", file, *kept, *where)[0] for _ in range(2))
    assert len(first.splitlines()) == 20 and again == first


@both
def test_a_prompt_that_fails_says_why(where, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("one\ntwo\n")
    text, said = run("batch", file, "--model", "none", *where, status=1)
    assert ["ollama pull" in json.loads(line)["error"] for line in text.splitlines()] == [True, True]
    assert "0 answered, 2 failed" in said


@both
def test_the_nearest_passage_comes_first(where, tmp_path):
    passages = ["Cheese is made of milk", "Bread is made of flour", "Salt comes from the sea"]
    file = tmp_path / "passages.txt"
    file.write_text("\n\n".join(passages) + "\n")
    text, _ = run("retrieval", "--passages", file, passages[1], passages[2], "--top", 2, *where)
    for asked, block in zip(passages[1:], text.strip().split("\n\n")):
        question, best, second, answer = block.split("\n", 3)
        assert question == f"Question: {asked}" and best == f"  1.00  {asked}"
        assert 0 < len(second) and answer.removeprefix("Answer: ").strip()


@both
def test_retrieval_has_passages_and_questions_of_its_own(where):
    text, _ = run("retrieval", *where)
    assert text.count("Question: ") == text.count("Answer: ") == 3


@pytest.mark.parametrize("where, how", [("gateway", "at once: "), ("nodes", "one by one: ")], indirect=["where"])
def test_research_follows_the_advice_and_sums_up(where, how):
    text, _ = run("research", "Why?", "--side", "costs", "--side", "risks", *where)
    assert text.startswith(how)
    costs, risks, summary = (text.index(word) for word in ("\ncosts: ", "\nrisks: ", "\nSummary: "))
    assert costs < risks < summary
    assert text[summary:].removeprefix("\nSummary: ").strip()


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_node_an_example_says_so(name, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("one\n")
    text, said = run(name, *[file] * (name == "batch"), status=1)
    assert ("no usable node" if name == "batch" else "no Ollama node is known") in text + said
    assert "Traceback" not in said


def test_a_missing_file_is_named():
    for name, words in (("batch", ["none.txt"]), ("retrieval", ["--passages", "none.txt"])):
        _, said = run(name, *words, status=1)
        assert said.startswith(f"{name}: ") and "none.txt" in said and "Traceback" not in said


def parts(text, *names):
    """What stands behind each name at the beginning of a line, in that order."""
    found = re.fullmatch("".join(rf"{name}: (.+)\n" for name in names), text, re.DOTALL)
    assert found, text
    return found.groups()


@pytest.mark.parametrize("how", [[], ["--openai"]])
def test_langchain_asks_the_gateway(machines, how):
    before = asked_of(machines)
    text, _ = run("langchain_chat", "--gateway", machines, *how)
    *_, tool, _, nearest = parts(text, "Answer", "Stream", "Tool", "Answer", "Nearest")
    assert tool.startswith("weather {'city': ") and nearest == "cheese from milk"
    assert asked_of(machines) - before == 1 + 1 + 2 + 2


def test_llamaindex_asks_the_gateway(machines):
    before = asked_of(machines)
    passage = "Wood from the left shelf is free for all."
    text, _ = run("llamaindex_query", passage, "--gateway", machines)
    *_, nearest, _, tool = parts(text, "Answer", "Nearest", "Stream", "Tool")
    assert nearest == passage and re.fullmatch(r"In .+ it rains\.", tool)
    assert asked_of(machines) - before == 1 + 2 + 1 + 1


def test_the_notebook_runs():
    done = subprocess.run([sys.executable, "-B", str(HERE / "notebook.py")], capture_output=True, text=True, timeout=180)
    if done.returncode == NOT_PERMITTED:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
