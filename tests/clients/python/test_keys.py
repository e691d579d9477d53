"""API keys with the real clients: a gateway that asks for keys, in front of the server under test."""

import json
import os
import re
import subprocess

import anthropic
import ollama
import openai
import pytest

URL = os.environ["SOLLOL_URL"]
BIN = os.environ.get("SOLLOL_BIN", "")
MODEL = "llama3.2"

pytestmark = pytest.mark.skipif(
    os.environ.get("SOLLOL_GATEWAY") != "1" or not os.access(BIN, os.X_OK),
    reason="needs the gateway's program",
)


def add_key(keys_file, name, *options):
    made = subprocess.run(
        [BIN, "keys", "add", name, "--keys-file", keys_file, "--json", *options],
        check=True, capture_output=True, text=True, timeout=30,
    )
    return json.loads(made.stdout)["key"]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory):
    """A gateway with keys: its URL and the keys by name."""
    keys_file = str(tmp_path_factory.mktemp("keys") / "keys.toml")
    keys = {
        "user": add_key(keys_file, "user"),
        "other": add_key(keys_file, "other", "--models", "some-other-model"),
        "admin": add_key(keys_file, "admin", "--admin"),
    }
    assert os.stat(keys_file).st_mode & 0o777 == 0o600
    gateway = subprocess.Popen(
        [BIN, "up", "--no-node-file", "--listen", "127.0.0.1:0", "--node", URL,
         "--keys-file", keys_file],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    url = None
    for line in gateway.stdout:
        if found := re.search(r"listening on (http://\S+)", line):
            url = found.group(1)
            break
    assert url
    yield url, keys
    gateway.kill()
    gateway.wait()




def test_ollama_api_key_is_the_key(keyed, monkeypatch):
    url, keys = keyed
    monkeypatch.setenv("OLLAMA_API_KEY", keys["user"])
    assert ollama.Client(host=url).generate(model=MODEL, prompt="Hi").response
    assert [m.model for m in ollama.Client(host=url).list().models]


def test_ollama_without_a_key_is_told_so(keyed, monkeypatch):
    url, _ = keyed
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    with pytest.raises(ollama.ResponseError) as refused:
        ollama.Client(host=url).generate(model=MODEL, prompt="a")
    assert refused.value.status_code == 401
    assert "API key" in refused.value.error


def test_a_key_for_another_model_is_refused(keyed, monkeypatch):
    url, keys = keyed
    monkeypatch.setenv("OLLAMA_API_KEY", keys["other"])
    with pytest.raises(ollama.ResponseError) as refused:
        ollama.Client(host=url).generate(model=MODEL, prompt="a")
    assert refused.value.status_code == 403
    assert ollama.Client(host=url).list().models == []


def test_openai_key(keyed):
    url, keys = keyed
    client = openai.OpenAI(base_url=url + "/v1", api_key=keys["user"], max_retries=0)
    answer = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "Hi"}])
    assert answer.choices[0].message.content
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0).models.list()


def test_anthropic_key(keyed):
    url, keys = keyed
    client = anthropic.Anthropic(base_url=url, api_key=keys["user"], max_retries=0)
    answer = client.messages.create(
        model=MODEL, max_tokens=8, messages=[{"role": "user", "content": "Hi"}])
    assert answer.content[0].text
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0).messages.create(
            model=MODEL, max_tokens=8, messages=[{"role": "user", "content": "Hi"}])


def test_commands_show_the_key(keyed):
    url, keys = keyed
    for name, code in (("admin", 0), ("user", 1)):
        status = subprocess.run(
            [BIN, "status", "--gateway", url, "--json"], capture_output=True, text=True,
            timeout=30, env={**os.environ, "SOLLOL_API_KEY": keys[name]})
        assert status.returncode == code, status.stderr
