"""Looking for nodes once."""

from __future__ import annotations

from . import _core, _log

__all__ = ["discover_ollama_nodes"]


def discover_ollama_nodes(
    timeout: float = 0.5,
    exclude_localhost: bool = False,
    auto_resolve_docker: bool = True,
    discover_all_nodes: bool = True,
) -> list[dict[str, str]]:
    """The nodes of this machine and its private networks: ``[{"host": "10.9.66.154", "port": "11434"}, …]``.

    Each node stands once, however many addresses lead to it. ``timeout``: seconds for a connection, and again for
    an answer. ``discover_all_nodes=False`` ends with the first. ``OLLAMA_HOST``, ``SOLLOL_AUTO_DISCOVER``,
    ``SOLLOL_DISCOVERY_SUBNETS`` and ``SOLLOL_DISCOVERY_PORTS`` are honoured.
    """
    found = _core.Registry()
    try:
        found.discover(timeout, [11434], [], exclude_localhost, auto_resolve_docker, discover_all_nodes)
        return [host_and_port(node.url) for node in found.all()]
    finally:
        found.close()
        _log.pass_on()


def host_and_port(url: str) -> dict[str, str]:
    """The two parts of a node's URL."""
    host, _, port = url.partition("://")[2].partition("/")[0].rpartition(":")
    return {"host": host.strip("[]"), "port": port}
