"""The nodes of a program: found, probed, judged and grouped by machine."""

from __future__ import annotations

import dataclasses
import os
from typing import Mapping, Optional, Union

from . import _core, _forks, _log
from .errors import ConfigError

__all__ = ["Capabilities", "Metrics", "Node", "NodeRegistry"]


@dataclasses.dataclass(frozen=True)
class Capabilities:
    """What a node can do, as it last told.

    ``has_gpu``: whether a GPU does the work; None while nothing is loaded there, which alone shows it.
    ``memory``: bytes of models in memory, ``gpu_memory`` of them in a GPU's.
    """

    models: tuple[str, ...]
    has_gpu: Optional[bool]
    memory: int
    gpu_memory: int


@dataclasses.dataclass(frozen=True)
class Metrics:
    """How a node does. ``latencies``: seconds, oldest first."""

    is_healthy: bool
    consecutive_failures: int
    latencies: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Node:
    """A node as it was when it was asked for."""

    url: str
    name: str
    priority: int
    capabilities: Capabilities
    metrics: Metrics

    @property
    def is_healthy(self) -> bool:
        return self.metrics.is_healthy


def _node_of(report: _core.NodeReport) -> Node:
    times = tuple(report.checked_round_trips_s)
    if not times and report.round_trip_s > 0:
        times = (report.round_trip_s,)
    return Node(
        url=report.url,
        name=report.name,
        priority=report.priority,
        capabilities=Capabilities(
            models=tuple(model.name for model in report.models),
            has_gpu={"yes": True, "partly": True, "no": False}.get(report.gpu),
            memory=report.loaded_bytes,
            gpu_memory=report.vram_bytes,
        ),
        metrics=Metrics(report.healthy, report.failed_checks, times),
    )


class NodeRegistry:
    """Keeps nodes. Any thread; in a forked child it begins anew with the same nodes.

    A lower ``priority`` is preferred. ``OLLAMA_HOST``, ``SOLLOL_AUTO_DISCOVER``, ``SOLLOL_DISCOVERY_SUBNETS``
    and ``SOLLOL_DISCOVERY_PORTS`` are honoured by what looks for nodes.
    """

    def __init__(self, auto_discover: bool = False) -> None:
        self._begin(_core.Registry())
        if auto_discover:
            self.discover_and_add_nodes()

    def _begin(self, core: _core.Registry) -> None:
        self._own: Optional[_core.Registry] = core
        self._known: list[_core.NodeReport] = core.all()
        _forks.watch(self)

    @property
    def _live(self) -> _core.Registry:
        if self._own is None:  # this is a forked child, which has none of the threads
            self._own = _core.Registry()
            for node in self._known:
                self._own.add(node.url, node.name, node.priority, slots=node.slots, auto_probe=False)
        return self._own

    def _changed(self) -> None:
        self._known = self._live.all()
        _log.pass_on()

    def discover_and_add_nodes(
        self,
        timeout: float = 0.5,
        exclude_localhost: bool = False,
        auto_resolve_docker: bool = True,
        discover_all_nodes: bool = True,
    ) -> int:
        """Looks for nodes on this machine's private networks; how many were added.

        Where localhost is a node that another address leads to as well, that address is kept, and the
        duplicate is logged.
        """
        return self._discover([], 11434, timeout, exclude_localhost, auto_resolve_docker, discover_all_nodes)

    def discover_nodes(
        self,
        ip_range: str,
        port: int = 11434,
        timeout: float = 0.5,
        max_workers: Optional[int] = None,
    ) -> list[Node]:
        """Looks for nodes in a range such as ``"192.168.1.0/24"``, adds them and returns the new ones.

        ``max_workers`` is there for programs that give it: all addresses are tried at once.
        """
        del max_workers
        before = set(self.nodes)
        self._discover([ip_range], port, timeout, False, False, True)
        return [node for url, node in self.nodes.items() if url not in before]

    def _discover(
        self, subnets: list[str], port: int, timeout: float, exclude_localhost: bool, docker: bool, all_nodes: bool
    ) -> int:
        try:
            return self._live.discover(timeout, [port], subnets, exclude_localhost, docker, all_nodes)
        finally:
            self._changed()

    def add_node(
        self,
        url: str,
        name: Optional[str] = None,
        priority: int = 0,
        auto_probe: bool = True,
        *,
        host: str = "",
        device: str = "",
        slots: int = 0,
    ) -> Node:
        """Adds a node and returns it, or the one that is already at this address.

        With ``auto_probe`` the node is asked first: one that does not answer raises ``NodeUnreachable``, which
        is a ``ConnectionError``. ``host`` and ``device`` are your word on which machine and GPU it has: equal
        words, one thing. ``slots``: requests of one model that it answers at once; 0: that is learnt.
        """
        for word, number in (("priority", priority), ("slots", slots)):
            if number < 0:
                raise ConfigError(f"{word}: write 0 or more, not {number}")
        try:
            return _node_of(self._live.add(url, name or "", priority, host, device, slots, auto_probe))
        finally:
            self._changed()

    def remove_node(self, url: str) -> bool:
        """Forgets the node of this URL or name; whether there was one."""
        removed = self._live.remove(url)
        self._changed()
        return removed

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes by URL, in the order in which they came."""
        return {report.url: _node_of(report) for report in self._live.all()}

    def get_node_by_url(self, url: str) -> Optional[Node]:
        return self.nodes.get(url.rstrip("/"))

    def get_healthy_nodes(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.metrics.is_healthy]

    def get_gpu_nodes(self) -> list[Node]:
        """Nodes that are known to work with a GPU."""
        return [node for node in self.nodes.values() if node.capabilities.has_gpu]

    def health_check_all(
        self,
        timeout: float = 2.0,
        connection_timeout: float = 1.0,
        auto_remove: bool = True,
        max_failures: int = 3,
    ) -> dict[str, bool]:
        """Asks all nodes at once whether they are there: {url: whether it answered}.

        ``auto_remove`` forgets those that have not answered ``max_failures`` times in a row.
        """
        checked = self._live.check(timeout, connection_timeout, auto_remove, max_failures)
        self._changed()
        return {report.url: report.failed_checks == 0 for report in checked}

    def load_config(self, filepath: Union[str, os.PathLike[str]]) -> int:
        """Adds the nodes of a node file that are not known yet; how many. ``~`` is expanded."""
        added = self._live.load(os.fspath(filepath))
        self._changed()
        return added

    def save_config(self, filepath: Union[str, os.PathLike[str]]) -> int:
        """Writes the nodes that do not stand in the node file yet into it; how many. ``~`` is expanded."""
        return self._live.save(os.fspath(filepath))

    def count_unique_physical_hosts(self) -> int:
        """Machines, however many nodes each has."""
        return self._live.count_unique_physical_hosts()

    def should_use_parallel_execution(self, num_tasks: int) -> bool:
        """Whether so many tasks should run at once: never fewer than two, and never on one machine alone."""
        return self._live.advise(num_tasks)[0]

    def explain(self) -> str:
        """Machines, their nodes, and the evidence."""
        return self._live.explain()

    def close(self) -> None:
        """Ends the registry's thread."""
        self._at_exit()

    def __len__(self) -> int:
        return len(self._live.all())

    def __repr__(self) -> str:
        return f"NodeRegistry({len(self)} nodes)"

    def _after_fork(self) -> None:
        if self._own is not None:
            self._own.abandon()
        self._own = None

    def _at_exit(self) -> None:
        if self._own is not None:
            self._own.close()
