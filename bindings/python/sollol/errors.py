"""What can go wrong, and what to do about it: every text names the node and the mend."""

from __future__ import annotations

from typing import Optional


class SollolError(Exception):
    """Anything that SOLLOL could not do.

    ``error`` is the text alone and ``status_code`` the HTTP status, 0 where there was none: both as
    Ollama's own client has them on its ``ResponseError``. ``node`` is the node's name, if one answered.
    """

    def __init__(self, error: str, status_code: int = 0, node: Optional[str] = None) -> None:
        super().__init__(error)
        self.error = error
        self.status_code = status_code
        self.node = node

    def __str__(self) -> str:
        details = [f"node {self.node}"] if self.node else []
        if self.status_code:
            details.append(f"status code: {self.status_code}")
        return f"{self.error} ({', '.join(details)})" if details else self.error

    def __reduce__(self) -> tuple[type[SollolError], tuple[str, int, Optional[str]]]:
        return type(self), (self.error, self.status_code, self.node)


class ConfigError(SollolError, ValueError):
    """An argument or a file that cannot be used; the text begins with its name."""


class RequestError(SollolError):
    """The request was understood and refused: it is wrong itself."""


class ModelNotFound(RequestError):
    """No node has the model."""


class NoNodeAvailable(SollolError, ConnectionError):
    """No node can be used now."""


class NodeError(SollolError):
    """A node failed, and no other could answer instead."""


class NodeUnreachable(NodeError, ConnectionError):
    """Nothing answers there."""


class ConnectionBroken(SollolError, ConnectionError):
    """An answer broke off before its end."""


class RequestTimeout(SollolError, TimeoutError):
    """The answer did not come in the time that the pool gives."""


class ShardingUnavailable(SollolError, NotImplementedError):
    """A model too large for every node was asked for, and laying one over backends is not there yet."""


def of_answer(status: int, text: str, node: str) -> SollolError:
    """The error that an answer with this status is."""
    by = node if node and node != "gateway" else None
    if status == 404:
        return ModelNotFound(f"{text}; pull it with `ollama pull` on a node", status, by)
    if status == 503 and by is None:
        return NoNodeAvailable(f"{text}; `sollol doctor` tells why", status)
    if status >= 500:
        return NodeError(text, status, by)
    return RequestError(text, status, by)
