"""A small HTTP/1.1 client on asyncio that tells a whole answer from a broken one."""

import asyncio
import json
import re

STATUS_LINE = re.compile(r"HTTP/1\.1 \d{3} ")


class Broken(Exception):
    """The connection ended or broke where more was due."""


class Silent(Exception):
    """Nothing came for longer than the bound."""


class Head:
    def __init__(self, status, fields):
        self.status = status
        self.fields = fields


class Connection:
    """One connection; requests go out as they are given, answers come piece by piece."""

    def __init__(self, reader, writer, silence_s):
        self.reader, self.writer, self.silence_s = reader, writer, silence_s
        self.reusable = True

    @classmethod
    async def open(cls, address, silence_s):
        reader, writer = await asyncio.wait_for(asyncio.open_connection(*address), silence_s)
        return cls(reader, writer, silence_s)

    def send(self, data):
        self.writer.write(data)

    def close(self):
        self.writer.close()

    def reset(self):
        self.writer.transport.abort()

    async def _wait(self, step):
        try:
            return await asyncio.wait_for(step, self.silence_s)
        except asyncio.TimeoutError:
            raise Silent(f"nothing for {self.silence_s} s") from None
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError) as error:
            raise Broken(type(error).__name__) from None

    async def head(self):
        """The next answer's head; interim answers are skipped."""
        while True:
            text = (await self._wait(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1")
            lines = text.split("\r\n")
            fields = {}
            for line in lines[1:-2]:
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            if not STATUS_LINE.match(lines[0]):
                raise Broken(f"not an answer: {lines[0][:100]!r}")
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                self.reusable = fields.get("connection", "").lower() != "close"
                return Head(status, fields)

    async def pieces(self, head, method):
        """Yields the body's bytes; returns at its proper end, raises Broken at any other."""
        if method == "HEAD" or head.status in (204, 304):
            return
        if head.fields.get("transfer-encoding", "").lower() == "chunked":
            while True:
                line = await self._wait(self.reader.readuntil(b"\r\n"))
                try:
                    size = int(line.split(b";")[0], 16)
                except ValueError:
                    raise Broken(f"no size of a chunk: {line[:100]!r}") from None
                if size == 0:
                    while await self._wait(self.reader.readuntil(b"\r\n")) != b"\r\n":
                        pass  # a trailer
                    return
                yield await self._wait(self.reader.readexactly(size))
                if await self._wait(self.reader.readexactly(2)) != b"\r\n":
                    raise Broken("a chunk has no end")
        elif "content-length" in head.fields:
            left = int(head.fields["content-length"])
            while left:
                data = await self._wait(self.reader.read(min(left, 65536)))
                if not data:
                    raise Broken("the body is shorter than its length")
                left -= len(data)
                yield data
        else:
            self.reusable = False
            while data := await self._wait(self.reader.read(65536)):
                yield data

    async def body(self, head, method):
        return b"".join([piece async for piece in self.pieces(head, method)])


def request_bytes(method, path, body=b"", fields=None, keep=True):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if not keep:
        lines.append("Connection: close")
    if body or method in ("POST", "DELETE"):
        lines.append(f"Content-Length: {len(body)}")
    for name, value in (fields or {}).items():
        lines.append(f"{name}: {value}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def ask_json(address, method, path, body=None, silence_s=10):
    """One request on a connection of its own; the JSON of its answer."""
    connection = await Connection.open(address, silence_s)
    try:
        data = b"" if body is None else json.dumps(body).encode()
        connection.send(request_bytes(method, path, data, keep=False))
        head = await connection.head()
        text = await connection.body(head, method)
        if head.status != 200:
            raise Broken(f"{method} {path}: {head.status} {text[:200]!r}")
        return json.loads(text)
    finally:
        connection.close()
