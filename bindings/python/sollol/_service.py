"""What a pool stands on: the library's pool or gateway client, and what makes it anew."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from typing import Any, Mapping, NamedTuple, Optional, Sequence, Union

from . import _core, _dashboard, _forks, _log
from ._asked import Asked, R
from .errors import ConfigError, RequestTimeout, SollolError

NodeLike = Union[str, Mapping[str, Any]]

_policies = {
    "intelligent": "expected_completion",
    "latency_first": "fastest",
    "least_loaded": "least_connections",
    "fairness": "round_robin",
}


class NamedNode(NamedTuple):
    """A node as the pool was told of it, or found it."""

    url: str
    priority: int
    slots: int


def named_node(node: NodeLike) -> NamedNode:
    """A node from a URL, ``"host:port"``, or a mapping."""
    if isinstance(node, str):
        return NamedNode(node, 0, 0)
    host = node.get("url") or node.get("host")
    if not host:
        raise ConfigError(f"nodes: each needs a host or a url, and {dict(node)!r} has none")
    numbers = {word: int(node.get(word, 0)) for word in ("priority", "slots")}
    for word, number in numbers.items():
        if number < 0:
            raise ConfigError(f"nodes: {word}: write 0 or more, not {number}")
    return NamedNode(url_of(str(host), node.get("port")), **numbers)


def url_of(host: str, port: Union[int, str, None]) -> str:
    if "://" in host or port is None:
        return host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Service:
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
        lower one is preferred, and ``slots``, the requests of one model that it answers at once (else learnt).
        ``routing_strategy``: ``intelligent``, ``round_robin``, ``latency_first``, ``least_loaded``, ``fairness``, or a policy
        of ``sollol up``. ``gateway``: the URL of one that runs, which is asked instead of the nodes; ``api_key`` is for it.
        ``timeout``: seconds for an answer, and for each piece of a stream; None: however long it takes. ``workers``: threads
        that relay. ``max_in_flight``: awaited calls at once; the rest wait their turn. ``register_with_dashboard``: tells the
        gateway that runs, if one does, that this application (``app_name``) is there.
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
        self._named = [named_node(node) for node in nodes or ()]
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

    def discover(self, timeout: float = 0.5, exclude_localhost: bool = False, discover_all_nodes: bool = True) -> int:
        """Looks for nodes and adds those that are new; how many."""
        core = self._live
        if isinstance(core, _core.Gateway):
            raise SollolError("the gateway looks for nodes by itself; see `sollol up --auto-discover`")
        nodes = core.nodes()
        try:
            return nodes.discover(timeout, [11434], [], exclude_localhost, True, discover_all_nodes)
        finally:
            self._named = [NamedNode(node.url, node.priority, node.slots) for node in nodes.all()]
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
