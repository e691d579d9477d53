"""Many Ollama nodes as one: requests go where they finish first."""

from __future__ import annotations

import os
import urllib.parse
from typing import (
    Any,
    Callable,
    Iterable,
    Iterator,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Union,
    overload,
)

from . import _asked, _batch, _log, _requests
from ._asked import Asked, Format, KeepAlive, Options, Priority, R, Think
from ._batch import BatchArguments, BatchResult
from ._responses import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    ProcessResponse,
    ProgressResponse,
    Response,
    ShowResponse,
    StatusResponse,
)
from ._service import NamedNode, NodeLike, Service, named_node, url_of
from ._waiting import Lines, ask_async
from .discovery import host_and_port
from .errors import ConfigError, ConnectionBroken, NodeUnreachable, SollolError, of_answer

__all__ = ["OllamaPool"]

_batch_width = 64  # calls of one batch at once: the pool's queue holds what its nodes cannot take yet
_stop_check_every_s = 0.1


class OllamaPool(Service):
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
        lines = Lines()
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

    def batch(
        self,
        requests: Iterable[Mapping[str, Any]],
        *,
        output: Optional[Union[str, os.PathLike[str]]] = None,
        concurrency: Optional[int] = None,
        as_they_finish: bool = False,
        max_failures: Optional[int] = None,
        retry_failed: bool = False,
        endpoint: str = "",
        progress: Optional[bool] = None,
    ) -> Iterator[BatchResult]:
        """Many requests over all nodes, as ``sollol batch`` runs them; the results as they come, in order.

        A request is a mapping: the body that Ollama or OpenAI would get, or a line of OpenAI's batch files (``custom_id``,
        ``method``, ``url``, ``body``); ``endpoint`` is the route of those that name none, else told by their fields. All are
        read before the first is sent. One that fails does not end the others: its result has the error.

        ``output``: a file that gets the results too. What is done is kept beside it (``OUTPUT.journal``), so the same call
        goes on where it was, whatever ended it. ``concurrency``: requests at once; None: as many as is fastest, measured.
        ``as_they_finish``: results as they end. ``max_failures``: more failed requests end the batch. ``retry_failed``: asks
        again what failed in an earlier run. ``progress``: a bar (tqdm); None: on terminals and in notebooks, where tqdm is
        installed. Ctrl-C, and letting go of the iterator, abandon what is under way. A batch that ends early raises.
        """
        arguments = BatchArguments(output, concurrency, as_they_finish, max_failures, retry_failed, endpoint, progress)
        arguments.check()
        return _batch.run(self, requests, arguments)

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

    @overload
    def pull(
        self, model: str, *, insecure: Optional[bool] = None, stream: Literal[False] = False
    ) -> ProgressResponse: ...

    @overload
    def pull(
        self, model: str, *, insecure: Optional[bool] = None, stream: Literal[True]
    ) -> Iterator[ProgressResponse]: ...

    def pull(
        self, model: str, *, insecure: Optional[bool] = None, stream: bool = False
    ) -> Union[ProgressResponse, Iterator[ProgressResponse]]:
        """Lets the nodes fetch a model; with ``stream=True`` its progress."""
        asked = _asked.pull(model, insecure=insecure, stream=stream)
        return self._stream(asked) if stream else self._ask(asked)

    def delete(self, model: str) -> StatusResponse:
        """Removes a model from the nodes that have it."""
        return self._ask(_asked.delete(model))

    def copy(self, source: str, destination: str) -> StatusResponse:
        """Gives a model another name on the nodes that have it."""
        return self._ask(_asked.copy(source, destination))

    # ---- the same for programs that await

    async def chat_async(self, *positional: Any, **arguments: Any) -> ChatResponse:
        return await ask_async(self, _asked.chat(*positional, **arguments))

    async def generate_async(self, *positional: Any, **arguments: Any) -> GenerateResponse:
        return await ask_async(self, _asked.generate(*positional, **arguments))

    async def embed_async(self, *positional: Any, **arguments: Any) -> EmbedResponse:
        return await ask_async(self, _asked.embed(*positional, **arguments))

    # ---- nodes

    @property
    def nodes(self) -> List[dict[str, str]]:
        """``[{"host": …, "port": …}, …]``"""
        return [host_and_port(node["url"]) for node in self._facts("nodes")["nodes"]]

    def _facts(self, target: str) -> Response:
        return self._ask(_asked.own(target))

    def add_node(self, host: str, port: Union[int, str] = 11434, *, name: str = "", priority: int = 0) -> None:
        """Adds a node, after it has answered. ``host`` may be a URL."""
        body: dict[str, Any] = {"url": url_of(host, port), "priority": priority, "auto_probe": True}
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
        wanted = {host, url_of(host, port), url_of(host, port).rstrip("/")}
        for node in self._facts("nodes")["nodes"]:
            if node["name"] in wanted or node["url"] in wanted:
                name = urllib.parse.quote(node["name"], safe="")
                self._begin(Asked("DELETE", f"/sollol/v1/nodes/{name}", Response)).read_all(self._timeout)
                self._remember()
                return True
        return False

    def too_large_for_any(self, model: str) -> bool:
        """Whether a model is larger than the memory of every node, its GPUs' included. Only what an agent on each node's
        machine told counts (``sollol agent``): where one is missing, its node may hold the model."""
        nodes = self._facts("nodes")["nodes"]
        size = max(
            (one["size"] for node in nodes for one in node["models"] if _same_model(one["name"], model)), default=0
        )
        return size > 0 and all("agent" in node and size > _memory(node["agent"]) for node in nodes)

    def _remember(self) -> None:
        if self.gateway is None:
            known = self._facts("nodes")["nodes"]
            self._named = [NamedNode(node["url"], node["priority"], node["slots"]) for node in known]

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
        wanted = None if node is None else {str(node), named_node(node).url}
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


def _memory(agent: Mapping[str, Any]) -> int:
    return int(agent["memory_total"]) + sum(int(gpu["memory_total"]) for gpu in agent["gpus"])


def _has(node: Mapping[str, Any], model: str) -> bool:
    return any(_same_model(one["name"], model) for one in node["models"])


def _same_model(listed: str, asked: str) -> bool:
    """A name without a tag means ``latest``."""
    return listed == asked or listed == f"{asked}:latest"
