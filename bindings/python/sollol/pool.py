"""Many Ollama nodes as one: requests go where they finish first."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.parse
import weakref
from typing import (
    Any,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    List,
    Literal,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
    overload,
)

from . import _asked, _core, _dashboard, _forks, _log, _requests
from ._asked import Asked, Format, KeepAlive, Options, Priority, R, Think
from ._responses import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    ProcessResponse,
    Response,
    ShowResponse,
)
from .discovery import host_and_port
from .errors import ConfigError, ConnectionBroken, NodeUnreachable, RequestTimeout, SollolError, of_answer

__all__ = ["AsyncOllamaPool", "OllamaPool"]

NodeLike = Union[str, Mapping[str, Any]]

_policies = {
    "intelligent": "expected_completion",
    "latency_first": "expected_completion",
    "least_loaded": "least_connections",
    "fairness": "round_robin",
}
_batch_width = 64  # calls of one batch at once: the pool's queue holds what its nodes cannot take yet
_stop_check_every_s = 0.1


class _Named(NamedTuple):
    """A node as the pool was told of it, or found it."""

    url: str
    priority: int
    slots: int


def _named(node: NodeLike) -> _Named:
    """A node from a URL, ``"host:port"``, or a mapping."""
    if isinstance(node, str):
        return _Named(node, 0, 0)
    host = node.get("url") or node.get("host")
    if not host:
        raise ConfigError(f"nodes: each needs a host or a url, and {dict(node)!r} has none")
    numbers = {word: int(node.get(word, 0)) for word in ("priority", "slots")}
    for word, number in numbers.items():
        if number < 0:
            raise ConfigError(f"nodes: {word}: write 0 or more, not {number}")
    return _Named(_url_of(str(host), node.get("port")), **numbers)


def _url_of(host: str, port: Union[int, str, None]) -> str:
    if "://" in host or port is None:
        return host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Service:
    """The library's pool or gateway client, and what makes it anew: after a fork, and from a pickle."""

    def __init__(
        self,
        nodes: Optional[Sequence[NodeLike]] = None,
        app_name: Optional[str] = None,
        register_with_dashboard: bool = True,
        routing_strategy: str = "intelligent",
        exclude_localhost: bool = False,
        discover_all_nodes: bool = True,
        *,
        gateway: Optional[str] = None,
        api_key: Optional[str] = None,
        timeout: Optional[float] = None,
        workers: int = 1,
        max_in_flight: int = 1000,
    ) -> None:
        """Without ``nodes`` and ``gateway``, nodes are looked for.

        ``nodes``: URLs, or mappings with ``host`` and ``port`` (or ``url``) and perhaps a ``priority``, of which a
        lower one is preferred, and ``slots``, the requests of one model that it answers at once (else learnt). ``routing_strategy``: ``intelligent``, ``round_robin``, ``latency_first``,
        ``least_loaded``, ``fairness``, or a policy of ``sollol up``. ``gateway``: the URL of one that runs, which is asked
        instead of the nodes; ``api_key`` is for it. ``timeout``: seconds for an answer, and for each piece of a stream;
        None: however long it takes. ``workers``: threads that relay. ``max_in_flight``: awaited calls at once; the rest wait
        their turn. ``register_with_dashboard``: tells the gateway
        that runs, if one does, that this application (``app_name``) is there.
        """
        if gateway is not None and nodes is not None:
            raise ConfigError("gateway: the gateway has its own nodes; give nodes or gateway, not both")
        self.app_name = app_name or os.path.basename(sys.argv[0]) or "python"
        self.routing_strategy = str(getattr(routing_strategy, "value", routing_strategy))
        self.gateway = gateway
        self._api_key = api_key or os.environ.get("SOLLOL_API_KEY", "")
        self._timeout = -1.0 if timeout is None else timeout
        self._workers = workers
        self._max_in_flight = max_in_flight
        self._turns: weakref.WeakKeyDictionary[Any, asyncio.Semaphore] = weakref.WeakKeyDictionary()
        self._named = [_named(node) for node in nodes or ()]
        self._service: Union[_core.Pool, _core.Gateway, None] = self._open()
        self._closed = False
        _forks.watch(self)
        if nodes is None and gateway is None:
            self.discover(exclude_localhost=exclude_localhost, discover_all_nodes=discover_all_nodes)
        if register_with_dashboard:
            _dashboard.announce(gateway, self._api_key, self.app_name)

    def _open(self) -> Union[_core.Pool, _core.Gateway]:
        if self.gateway is not None:
            return _core.open_gateway(self.gateway, self._api_key, 2.0)
        policy = _policies.get(self.routing_strategy, self.routing_strategy)
        return _core.open_pool(self._named, policy, self._workers)

    @property
    def _live(self) -> Union[_core.Pool, _core.Gateway]:
        if self._closed:
            raise SollolError("the pool is closed; make another one")
        if self._service is None:  # this is a forked child, which has none of the threads
            self._service = self._open()
        return self._service

    def discover(
        self, timeout: float = 0.5, exclude_localhost: bool = False, discover_all_nodes: bool = True
    ) -> int:
        """Looks for nodes and adds those that are new; how many."""
        core = self._live
        if isinstance(core, _core.Gateway):
            raise SollolError("the gateway looks for nodes by itself; see `sollol up --auto-discover`")
        nodes = core.nodes()
        try:
            return nodes.discover(timeout, [11434], [], exclude_localhost, True, discover_all_nodes)
        finally:
            self._named = [_Named(node.url, node.priority, node.slots) for node in nodes.all()]
            _log.pass_on()

    def _begin(self, asked: Asked[R]) -> _core.Call:
        return self._live.call(asked.method, asked.target, asked.body, asked.fields)

    def _turn(self) -> asyncio.Semaphore:
        """A place among the awaited calls of this loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._turns:
            self._turns[loop] = asyncio.Semaphore(self._max_in_flight)
        return self._turns[loop]

    def _late(self) -> RequestTimeout:
        return RequestTimeout(f"no answer within {self._timeout} s; give the pool a longer timeout")

    def close(self) -> None:
        """Ends the pool's threads; what still runs breaks off."""
        self._closed = True
        if self._service is not None:
            self._service.close()

    stop = close

    def _after_fork(self) -> None:
        if self._service is not None:
            self._service.abandon()
        self._service = None

    def _at_exit(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_service", "_turns", "_closed")
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._turns = weakref.WeakKeyDictionary()
        self._closed = False
        self._service = self._open()
        _forks.watch(self)

    def __repr__(self) -> str:
        where = f"gateway={self.gateway!r}" if self.gateway else f"nodes={[node.url for node in self._named]}"
        return f"{type(self).__name__}({where}, routing_strategy={self.routing_strategy!r})"


class OllamaPool(_Service):
    """Generates, chats and embeds over many nodes, with the calls and answers of Ollama's own Python client.

    Every call may be made from any thread; it blocks without the GIL, and Ctrl-C ends it. Use it as a context
    manager, or ``stop`` it. It pickles by its configuration, and works on in forked children.
    """

    @classmethod
    def auto_configure(cls, discover_all_nodes: bool = True, **arguments: Any) -> OllamaPool:
        """A pool of whatever nodes are found."""
        return cls(discover_all_nodes=discover_all_nodes, **arguments)

    # ---- asking

    def _ask(self, asked: Asked[R]) -> R:
        call = self._begin(asked)
        text = call.read_all(self._timeout)
        if text is None:
            raise self._late()
        return asked.answer(call.status, call.field("X-Sollol-Node"), text)

    def _stream(self, asked: Asked[R]) -> Iterator[R]:
        """The records of an answer; whoever lets go of the iterator ends the work at the node."""
        call = self._begin(asked)
        status = call.wait_for_head(self._timeout)
        if status is None:
            raise self._late()
        node = call.field("X-Sollol-Node")
        if status != 200:
            asked.answer(status, node, call.read_all(self._timeout) or b"")
        lines = _Lines()
        while True:
            piece = call.read(self._timeout)
            if piece is None:
                raise self._late()
            if not piece:
                return
            for line in lines.take(piece):
                yield asked.record(line, node)

    @overload
    def chat(
        self,
        model: str = "",
        messages: Optional[Sequence[Any]] = None,
        *,
        tools: Optional[Sequence[_requests.Tool]] = None,
        stream: Literal[False] = False,
        think: Think = None,
        logprobs: Optional[bool] = None,
        top_logprobs: Optional[int] = None,
        format: Format = None,
        options: Options = None,
        keep_alive: KeepAlive = None,
        priority: Priority = None,
    ) -> ChatResponse: ...

    @overload
    def chat(
        self, model: str = "", messages: Optional[Sequence[Any]] = None, *, stream: Literal[True], **arguments: Any
    ) -> Iterator[ChatResponse]: ...

    def chat(self, *positional: Any, **arguments: Any) -> Union[ChatResponse, Iterator[ChatResponse]]:
        """One message more of a conversation; with ``stream=True`` piece by piece."""
        asked = _asked.chat(*positional, **arguments)
        return self._stream(asked) if arguments.get("stream") else self._ask(asked)

    @overload
    def generate(
        self,
        model: str = "",
        prompt: Optional[str] = None,
        suffix: Optional[str] = None,
        *,
        system: Optional[str] = None,
        template: Optional[str] = None,
        context: Optional[Sequence[int]] = None,
        stream: Literal[False] = False,
        think: Think = None,
        logprobs: Optional[bool] = None,
        top_logprobs: Optional[int] = None,
        raw: Optional[bool] = None,
        format: Format = None,
        images: Optional[Sequence[_requests.Image]] = None,
        options: Options = None,
        keep_alive: KeepAlive = None,
        priority: Priority = None,
    ) -> GenerateResponse: ...

    @overload
    def generate(
        self,
        model: str = "",
        prompt: Optional[str] = None,
        suffix: Optional[str] = None,
        *,
        stream: Literal[True],
        **arguments: Any,
    ) -> Iterator[GenerateResponse]: ...

    def generate(self, *positional: Any, **arguments: Any) -> Union[GenerateResponse, Iterator[GenerateResponse]]:
        """Goes on with a prompt; with ``stream=True`` piece by piece."""
        asked = _asked.generate(*positional, **arguments)
        return self._stream(asked) if arguments.get("stream") else self._ask(asked)

    def embed(
        self,
        model: str = "",
        input: Union[str, Sequence[str]] = "",
        truncate: Optional[bool] = None,
        options: Options = None,
        keep_alive: KeepAlive = None,
        dimensions: Optional[int] = None,
        *,
        priority: Priority = None,
    ) -> EmbedResponse:
        """The vectors of one text or several."""
        return self._ask(_asked.embed(model, input, truncate, options, keep_alive, dimensions, priority=priority))

    def embeddings(
        self, model: str = "", prompt: Optional[str] = None, options: Options = None, keep_alive: KeepAlive = None
    ) -> EmbeddingsResponse:
        """The vector of one text, over Ollama's older route."""
        return self._ask(_asked.embeddings(model, prompt, options, keep_alive))

    def embed_batch(
        self,
        model: str,
        inputs: Sequence[str],
        max_workers: Optional[int] = None,
        *,
        priority: Priority = None,
        progress: Optional[Callable[[int], None]] = None,
        **arguments: Any,
    ) -> List[EmbedResponse]:
        """The vectors of many texts, each a request of its own, over all nodes; in the order of ``inputs``.

        ``max_workers``: requests under way at once. ``progress`` is told how many are done. The first that fails
        raises, and ends the rest.
        """
        asked = [_asked.embed(model, text, priority=priority, **arguments) for text in inputs]
        return self._ask_all(asked, max_workers, progress)

    def chat_batch(
        self,
        model: str,
        conversations: Sequence[Sequence[Any]],
        max_workers: Optional[int] = None,
        *,
        progress: Optional[Callable[[int], None]] = None,
        **arguments: Any,
    ) -> List[ChatResponse]:
        """One chat for each conversation, over all nodes at once; the answers in order. As ``embed_batch``."""
        asked = [_asked.chat(model, messages, **arguments) for messages in conversations]
        return self._ask_all(asked, max_workers, progress)

    def _ask_all(
        self, asked: Sequence[Asked[R]], width: Optional[int], progress: Optional[Callable[[int], None]] = None
    ) -> List[R]:
        answers: List[Optional[R]] = [None] * len(asked)
        for done, (index, answer) in enumerate(self._ask_each(asked, width), 1):
            if isinstance(answer, SollolError):
                raise answer
            answers[index] = answer
            if progress is not None:
                progress(done)
        return [answer for answer in answers if answer is not None]

    def _ask_each(
        self, asked: Sequence[Asked[R]], width: Optional[int], stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Tuple[int, Union[R, SollolError]]]:
        """Index and answer of each, as they come; ends early, and with it what runs, once ``stopped()``."""
        if width is not None and width < 1:
            raise ConfigError(f"max_workers: write 1 or more, not {width}")
        batch = self._live.batch(width or _batch_width)
        added = done = 0
        while done < len(asked) and not stopped():
            while added < len(asked) and batch.has_room:
                batch.add(added, asked[added].target, asked[added].body, asked[added].fields)
                added += 1
            ended = batch.next(_stop_check_every_s)
            if ended is None:
                continue
            done += 1
            tag, status, node, text = ended
            try:
                if status == 0:
                    raise ConnectionBroken(text.decode())
                yield tag, asked[tag].answer(status, node, text)
            except SollolError as failure:
                yield tag, failure

    def list(self) -> ListResponse:
        """The models that the nodes have, each once."""
        return self._ask(_asked.listed())

    def ps(self) -> ProcessResponse:
        """The models that are loaded somewhere."""
        return self._ask(_asked.running())

    def show(self, model: str) -> ShowResponse:
        return self._ask(_asked.show(model))

    # ---- the same for programs that await

    async def chat_async(self, *positional: Any, **arguments: Any) -> ChatResponse:
        return await _ask_async(self, _asked.chat(*positional, **arguments))

    async def generate_async(self, *positional: Any, **arguments: Any) -> GenerateResponse:
        return await _ask_async(self, _asked.generate(*positional, **arguments))

    async def embed_async(self, *positional: Any, **arguments: Any) -> EmbedResponse:
        return await _ask_async(self, _asked.embed(*positional, **arguments))

    # ---- nodes

    @property
    def nodes(self) -> List[dict[str, str]]:
        """``[{"host": …, "port": …}, …]``"""
        return [host_and_port(node["url"]) for node in self._facts("nodes")["nodes"]]

    def _facts(self, target: str) -> Response:
        return self._ask(_asked.own(target))

    def add_node(self, host: str, port: Union[int, str] = 11434, *, name: str = "", priority: int = 0) -> None:
        """Adds a node, after it has answered. ``host`` may be a URL."""
        body: dict[str, Any] = {"url": _url_of(host, port), "priority": priority, "auto_probe": True}
        if name:
            body["name"] = name
        call = self._begin(Asked("POST", "/sollol/v1/nodes", Response, body))
        text = call.read_all(self._timeout)
        if call.status == 502:
            raise NodeUnreachable(_asked.error_text(text or b""), 502)
        if call.status == 400:
            raise ConfigError(_asked.error_text(text or b""), 400)
        if call.status not in (201, 409):  # 409: it is there
            raise of_answer(call.status, _asked.error_text(text or b""), "")
        self._remember()

    def remove_node(self, host: str, port: Union[int, str] = 11434) -> bool:
        """Forgets a node, named by host and port, by URL or by name; whether there was one."""
        wanted = {host, _url_of(host, port), _url_of(host, port).rstrip("/")}
        for node in self._facts("nodes")["nodes"]:
            if node["name"] in wanted or node["url"] in wanted:
                name = urllib.parse.quote(node["name"], safe="")
                self._begin(Asked("DELETE", f"/sollol/v1/nodes/{name}", Response)).read_all(self._timeout)
                self._remember()
                return True
        return False

    def _remember(self) -> None:
        if self.gateway is None:
            known = self._facts("nodes")["nodes"]
            self._named = [_Named(node["url"], node["priority"], node["slots"]) for node in known]

    def count_unique_physical_hosts(self) -> int:
        """Machines, however many nodes each has."""
        return int(self._facts("locality")["unique_physical_hosts"])

    def should_use_parallel_execution(self, num_tasks: int) -> bool:
        """Whether so many tasks should run at once: never fewer than two, and never on one machine alone."""
        return self.advise(num_tasks)[0]

    def advise(self, num_tasks: int) -> tuple[bool, int, str]:
        """Whether so many tasks should run at once, how many workers are worth having, and why."""
        found = self._facts(f"locality?tasks={int(num_tasks)}")
        return found["parallel"], found["width"], found["reason"]

    def warm_model(self, model: str, node: Optional[NodeLike] = None) -> bool:
        """Loads a model on one node, or on all that have it; whether that worked everywhere."""
        wanted = None if node is None else {str(node), _named(node).url}
        names = [
            one["name"]
            for one in self._facts("nodes")["nodes"]
            if (wanted is None and _has(one, model)) or (wanted is not None and {one["name"], one["url"]} & wanted)
        ]
        for route in ("/api/generate", "/api/embed"):
            try:
                self._ask_all([_asked.warm(model, name, route) for name in names], None)
                return bool(names)
            except SollolError as failure:
                _log.logger.info("%s is not loaded by %s: %s", model, route, failure)
        return False

    def warm_models(self, models: Iterable[str], parallel: bool = True) -> dict[str, bool]:
        """``warm_model`` for each: {model: whether that worked}. One after the other, since they may displace each
        other; ``parallel`` is there for programs that give it: the nodes of one model load at once in any case."""
        del parallel
        return {model: self.warm_model(model) for model in models}

    # ---- what is going on

    def stats(self) -> dict[str, Any]:
        """The state of the pool and each of its nodes, as plain dicts."""
        return {
            **self._facts("status").model_dump(),
            "app_name": self.app_name,
            "routing_strategy": self.routing_strategy,
            "nodes": self._facts("nodes")["nodes"],
        }

    def get_stats(self) -> dict[str, Any]:
        """``stats``, with ``nodes`` as ``"host:port"``, ``nodes_configured`` and ``total_requests`` beside."""
        known = self.stats()
        return {
            **known,
            "nodes": [node["url"].partition("://")[2] for node in known["nodes"]],
            "nodes_configured": len(known["nodes"]),
            "total_requests": sum(node["requests"] for node in known["nodes"]),
            "failed_requests": sum(node["failures"] for node in known["nodes"]),
        }

    def explain(self, model: Optional[str] = None) -> str:
        """Which nodes share a machine and why; with a model also where it is, and the last choice made for it."""
        text = str(self._facts("locality")["text"])
        if model is None:
            return text
        lines = [f"{model}:"]
        for node in self._facts("nodes")["nodes"]:
            for one in node["models"]:
                if _same_model(one["name"], model):
                    state = "loaded" if one["loaded"] else "not loaded"
                    lines.append(
                        f"  {node['name']}: {state}, {one['in_flight']} of {one['limit']} in flight, "
                        f"{one['decode_tokens_per_s']:.0f} tokens/s; the node is {node['state']}"
                    )
        for decision in self._facts("decisions")["decisions"]:
            if _same_model(decision["model"], model):
                lines.append(f"  last choice: {decision['node']} of {decision['candidates']} ({decision['reason']})")
                break
        if len(lines) == 1:
            lines.append("  no node has it")
        return "\n".join([*lines, "", text])

    def __enter__(self) -> OllamaPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncOllamaPool:
    """``OllamaPool`` for programs that await: one thread carries any number of calls.

    Takes what ``OllamaPool`` takes. Making it blocks while it looks for nodes: give it ``nodes`` or a ``gateway``, or
    make it before the loop runs. ``pool`` is the pool itself, for all else.
    """

    def __init__(self, *positional: Any, **arguments: Any) -> None:
        self.pool = OllamaPool(*positional, **arguments)

    @overload
    async def chat(
        self, model: str = "", messages: Optional[Sequence[Any]] = None, *, stream: Literal[True], **arguments: Any
    ) -> AsyncIterator[ChatResponse]: ...

    @overload
    async def chat(
        self,
        model: str = "",
        messages: Optional[Sequence[Any]] = None,
        *,
        stream: Literal[False] = False,
        **arguments: Any,
    ) -> ChatResponse: ...

    async def chat(self, *positional: Any, **arguments: Any) -> Union[ChatResponse, AsyncIterator[ChatResponse]]:
        """One message more of a conversation; with ``stream=True`` piece by piece."""
        asked = _asked.chat(*positional, **arguments)
        return _stream_async(self.pool, asked) if arguments.get("stream") else await _ask_async(self.pool, asked)

    @overload
    async def generate(
        self, model: str = "", prompt: Optional[str] = None, *, stream: Literal[True], **arguments: Any
    ) -> AsyncIterator[GenerateResponse]: ...

    @overload
    async def generate(
        self, model: str = "", prompt: Optional[str] = None, *, stream: Literal[False] = False, **arguments: Any
    ) -> GenerateResponse: ...

    async def generate(
        self, *positional: Any, **arguments: Any
    ) -> Union[GenerateResponse, AsyncIterator[GenerateResponse]]:
        """Goes on with a prompt; with ``stream=True`` piece by piece."""
        asked = _asked.generate(*positional, **arguments)
        return _stream_async(self.pool, asked) if arguments.get("stream") else await _ask_async(self.pool, asked)

    async def embed(self, *positional: Any, **arguments: Any) -> EmbedResponse:
        """The vectors of one text or several."""
        return await _ask_async(self.pool, _asked.embed(*positional, **arguments))

    async def embed_batch(self, model: str, inputs: Sequence[str], **arguments: Any) -> List[EmbedResponse]:
        """The vectors of many texts, each a request of its own, in the order of ``inputs``."""
        return await asyncio.gather(*(self.embed(model, text, **arguments) for text in inputs))

    async def list(self) -> ListResponse:
        """The models that the nodes have, each once."""
        return await _ask_async(self.pool, _asked.listed())

    async def ps(self) -> ProcessResponse:
        """The models that are loaded somewhere."""
        return await _ask_async(self.pool, _asked.running())

    async def show(self, model: str) -> ShowResponse:
        return await _ask_async(self.pool, _asked.show(model))

    async def close(self) -> None:
        """Ends the pool's threads; what still runs breaks off."""
        await asyncio.get_running_loop().run_in_executor(None, self.pool.close)

    async def __aenter__(self) -> AsyncOllamaPool:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Lines:
    """Pieces in, whole lines out."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> List[bytes]:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in whole if line.strip()]


def _has(node: Mapping[str, Any], model: str) -> bool:
    return any(_same_model(one["name"], model) for one in node["models"])


def _same_model(listed: str, asked: str) -> bool:
    """A name without a tag means ``latest``."""
    return listed == asked or listed == f"{asked}:latest"


async def _wait(pool: _Service, call: _core.Call) -> None:
    """Until the call can go on."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    descriptor = call.descriptor
    # Reading is watched even while the request is on its way: a refusal may come before it is out.
    loop.add_reader(descriptor, _set, ready)
    if call.sends:
        loop.add_writer(descriptor, _set, ready)
    try:
        await asyncio.wait_for(ready, None if pool._timeout < 0 else pool._timeout)
    except asyncio.TimeoutError:
        raise pool._late() from None
    finally:
        loop.remove_reader(descriptor)
        loop.remove_writer(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _ask_async(pool: _Service, asked: Asked[R]) -> R:
    async with pool._turn():
        call = pool._begin(asked)
        while not call.advance():
            await _wait(pool, call)
        return asked.answer(call.status, call.field("X-Sollol-Node"), call.take())


async def _stream_async(pool: _Service, asked: Asked[R]) -> AsyncIterator[R]:
    """The records of an answer; closing the iterator ends the work at the node."""
    async with pool._turn():
        call = pool._begin(asked)
        lines = _Lines()
        ended = False
        while not ended:
            ended = call.advance()
            if call.status not in (0, 200):
                while not call.advance():
                    await _wait(pool, call)
                asked.answer(call.status, call.field("X-Sollol-Node"), call.take())
            for line in lines.take(call.take()):
                yield asked.record(line, call.field("X-Sollol-Node"))
            if not ended:
                await _wait(pool, call)
