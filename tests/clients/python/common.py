"""What every Python suite here shares: the server under test, its models, small sample inputs.

The suites pass against one node and against the gateway. Where the two must differ, a test asks
`GATEWAY`.
"""

import base64
import os
import struct
import time
import zlib
from collections.abc import Callable

URL = os.environ.get("SOLLOL_URL", "http://127.0.0.1:11434").rstrip("/")
V1 = URL + "/v1"
BROKEN_URL = os.environ.get("SOLLOL_BROKEN_URL", URL).rstrip("/")  # where BROKEN is
GATEWAY = os.environ.get("SOLLOL_GATEWAY") == "1"
TIMEOUT_S = 60.0  # only to turn a hang into a failure; nothing is timed

# The models of ../fleet.toml.
CHAT = "llama3.2"  # completion, tools; on every node
THINK = "qwen3:4b"  # completion, tools, thinking
EMBED = "nomic-embed-text"  # embedding
MEDIA = "gemma3n:e4b"  # completion, vision, audio; on one node only
CASED = "hf.co/Team/Chat-GGUF:Q4_K_M"  # completion; upper case, other host, other namespace
BROKEN = "breaks"  # completion; every stream dies after a few tokens
SURVIVES = "survives"  # its first node dies after a few tokens, a second one goes on; gateway only
LATE = "late"  # every answer of its node comes late: streams get heartbeats before; gateway only
ABSENT = "no-such-model"  # on no node and in no registry
FLEET = {"llama3.2:latest", THINK, "nomic-embed-text:latest", MEDIA, CASED}

ENDLESS = 1_000_000  # a num_predict that no test waits for

WEATHER_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": WEATHER_PARAMETERS,
    },
}
WEATHER_QUESTION = "What is the weather in Paris?"
ANSWER_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "score": {"type": "integer"}},
    "required": ["answer", "score"],
}


def eventually(condition: Callable[[], bool]) -> None:
    """Waits for what a server learns by polling; fails when it does not come."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "this never became true"
        time.sleep(0.05)


def png() -> bytes:
    """The smallest honest PNG: one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00\x80")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def png_base64() -> str:
    return base64.b64encode(png()).decode()


def wav() -> bytes:
    """A tenth of a second of silence, 16 kHz, 16 bit, mono."""
    samples = b"\x00\x00" * 1600
    fmt = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(samples))
        + b"WAVE"
        + b"fmt "
        + struct.pack("<I", len(fmt))
        + fmt
        + b"data"
        + struct.pack("<I", len(samples))
        + samples
    )
