"""One client at work, in an interpreter that has it: run.py starts this. Prints what it measured as JSON.

Arguments: the client's name, the measurement's, and its settings as JSON. Nothing of a client is imported before its
import is measured, and what it prints goes to standard error.
"""

import asyncio
import concurrent.futures
import itertools
import json
import os
import socket
import sys
import time

MODEL = "llama3.2"
EMBEDDER = "nomic-embed-text"
MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
WARM_UP = 20  # calls before the first that counts
OLLAMA_WIDTH = 2  # requests at once at each node, where a program must say so itself: the fastest of 1, 2, 4 and 16


def options(tokens):
    return {"num_predict": tokens, "temperature": 0}


class Sollol:
    """This package."""

    def __init__(self, nodes):
        import sollol

        self.pool = sollol.OllamaPool(nodes=nodes, register_with_dashboard=False)
        self.awaited = sollol.AsyncOllamaPool(nodes=nodes, register_with_dashboard=False)

    def chat(self, tokens):
        return self.pool.chat(MODEL, MESSAGES, options=options(tokens)).message.content

    def stream(self, tokens):
        pieces = self.pool.chat(MODEL, MESSAGES, stream=True, options=options(tokens))
        return [piece.message.content for piece in pieces]

    async def chat_async(self, tokens):
        return (await self.awaited.chat(MODEL, MESSAGES, options=options(tokens))).message.content

    async def stream_async(self, tokens):
        pieces = await self.awaited.chat(MODEL, MESSAGES, stream=True, options=options(tokens))
        return [piece.message.content async for piece in pieces]

    def embed_batch(self, texts):
        return [answer.embeddings[0] for answer in self.pool.embed_batch(EMBEDDER, texts)]

    @staticmethod
    def discover(timeout):
        from sollol.discovery import discover_ollama_nodes

        return discover_ollama_nodes(timeout=timeout, discover_all_nodes=True)


class Published(Sollol):
    """The package of that name on PyPI, without what costs more and is not asked about: Dask, Redis, its cache."""

    stream_async = None  # it has none

    def __init__(self, nodes):
        from sollol import OllamaPool

        hosts = [dict(zip(("host", "port"), node.partition("://")[2].rsplit(":", 1))) for node in nodes]
        self.pool = OllamaPool(nodes=hosts, register_with_dashboard=False, enable_dask=False, enable_gpu_redis=False,
                               enable_cache=False)

    def chat(self, tokens):
        return self.pool.chat(MODEL, MESSAGES, options=options(tokens))["message"]["content"]

    def stream(self, tokens):
        pieces = self.pool.chat(MODEL, MESSAGES, stream=True, options=options(tokens))
        return [piece["message"]["content"] for piece in pieces]

    async def chat_async(self, tokens):
        return (await self.pool.chat_async(MODEL, MESSAGES, options=options(tokens)))["message"]["content"]

    def embed_batch(self, texts):
        return [answer["embeddings"][0] for answer in self.pool.embed_batch(EMBEDDER, texts)]


class Ollama:
    """Ollama's own client: one node each, so that a program deals its texts out itself."""

    discover = None  # it has none

    def __init__(self, nodes):
        import ollama

        self.clients = [ollama.Client(host=node) for node in nodes]
        self.client = self.clients[0]
        self.awaited = ollama.AsyncClient(host=nodes[0])

    def chat(self, tokens):
        return self.client.chat(MODEL, MESSAGES, options=options(tokens)).message.content

    def stream(self, tokens):
        pieces = self.client.chat(MODEL, MESSAGES, stream=True, options=options(tokens))
        return [piece.message.content for piece in pieces]

    async def chat_async(self, tokens):
        return (await self.awaited.chat(MODEL, MESSAGES, options=options(tokens))).message.content

    async def stream_async(self, tokens):
        pieces = await self.awaited.chat(MODEL, MESSAGES, stream=True, options=options(tokens))
        return [piece.message.content async for piece in pieces]

    def embed_batch(self, texts):
        def one(client, text):
            return client.embed(EMBEDDER, text).embeddings[0]

        with concurrent.futures.ThreadPoolExecutor(OLLAMA_WIDTH * len(self.clients)) as threads:
            return list(threads.map(one, itertools.cycle(self.clients), texts))


CLIENTS = {"sollol": Sollol, "published": Published, "ollama": Ollama}
MODULES = {"sollol": "sollol", "published": "sollol", "ollama": "ollama"}


class Bare:
    """The same question over one connection, and its answer read and not looked at: what no client can go below."""

    def __init__(self, node):
        host, _, port = node.partition("://")[2].rpartition(":")
        self.host = host
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, tokens, stream):
        body = json.dumps({"model": MODEL, "messages": MESSAGES, "stream": stream, "options": options(tokens)}).encode()
        self.socket.sendall(f"POST /api/chat HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while not self.whole(answer):
            piece = self.socket.recv(65536)
            if not piece:
                raise SystemExit(f"the node closed the connection after {answer[:200]!r}")
            answer += piece
        return answer

    @staticmethod
    def whole(answer):
        head, end, body = answer.partition(b"\r\n\r\n")
        if not end:
            return False
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return len(body) >= int(line.partition(b":")[2])
        return body.endswith(b"0\r\n\r\n")

    def chat(self, tokens):
        return self.ask(tokens, False)

    def stream(self, tokens):
        return self.ask(tokens, True)


def per_call(count, call):
    """Microseconds of each call: by the clock, and of all of this process's threads."""
    for _ in range(min(WARM_UP, count)):
        call()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    return {"wall_us": (time.perf_counter() - wall) / count * 1e6, "cpu_us": (time.process_time() - cpu) / count * 1e6}


async def per_call_async(count, call):
    for _ in range(min(WARM_UP, count)):
        await call()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        await call()
    return {"wall_us": (time.perf_counter() - wall) / count * 1e6, "cpu_us": (time.process_time() - cpu) / count * 1e6}


def right(answer, expected, tokens):
    """Whether that is the node's answer: each client must have read all of it."""
    text = answer if isinstance(answer, str) else "".join(answer)
    if text != expected:
        raise SystemExit(f"{text[:80]!r} in place of {expected[:80]!r} ({tokens} tokens)")


def calls(client, settings):
    """Each kind of call, and the bare ones beside it."""
    bare = Bare(settings["nodes"][0])
    tokens = settings["tokens"]
    found = {}
    # In each round, so that a change of the machine's mood hits both.
    for name, count, length in (("chat", settings["calls"], 1), ("stream", settings["streams"], tokens)):
        expected = json.loads(bare.chat(length).partition(b"\r\n\r\n")[2])["message"]["content"]
        call = getattr(client, name)
        right(call(length), expected, length)
        found[name] = per_call(count, lambda: call(length))
        found[f"{name} bare"] = per_call(count, lambda: getattr(bare, name)(length))

    async def awaited():
        for name, count, length in (("chat", settings["calls"], 1), ("stream", settings["streams"], tokens)):
            call = getattr(client, f"{name}_async")
            if call is not None:
                found[f"{name}_async"] = await per_call_async(count, lambda: call(length))

    asyncio.run(awaited())
    return found


def embed(client, settings):
    """Many texts, each a request of its own."""
    count = settings["texts"]
    texts = [f"{number} is the number of this text, which is as long as a line is" for number in range(count)]
    client.embed_batch(texts[:WARM_UP])
    wall, cpu = time.perf_counter(), time.process_time()
    vectors = client.embed_batch(texts)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if len(vectors) != len(texts) or any(len(vector) != settings["length"] for vector in vectors):
        raise SystemExit("not every text has its vector")
    return {"seconds": wall, "cpu_us": cpu / len(texts) * 1e6}


def discover(client, settings):
    """The call alone; what it imports is imported before."""
    began = time.perf_counter()
    nodes = client.discover(settings["timeout"])
    return {"seconds": time.perf_counter() - began, "nodes": sorted(node["host"] for node in nodes)}


def resident_kib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def start(name, settings):
    """The import, and then a pool and its first answer."""
    began = time.perf_counter()
    __import__(MODULES[name])
    imported = time.perf_counter()
    modules, rss = len(sys.modules), resident_kib()
    CLIENTS[name](settings["nodes"]).chat(1)
    return {"import_s": imported - began, "answer_s": time.perf_counter() - began, "rss_mib": rss / 1024,
            "modules": modules}


def main():
    name, what, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    out = os.dup(1)
    os.dup2(2, 1)
    if what == "start":
        found = start(name, settings)
    elif what == "discover":
        __import__(MODULES[name])
        found = discover(CLIENTS[name], settings)
    else:
        found = {"calls": calls, "embed": embed}[what](CLIENTS[name](settings["nodes"]), settings)
    os.write(out, json.dumps(found).encode())
    os._exit(0)  # the published package's threads have nothing to finish


if __name__ == "__main__":
    main()
