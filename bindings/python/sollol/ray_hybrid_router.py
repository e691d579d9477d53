"""Many tasks to the pool, models too large for any node to the sharding side."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

from . import execution
from ._responses import ChatResponse
from .errors import ConfigError, ShardingUnavailable
from .execution import Task, TaskResult
from .pool import OllamaPool

__all__ = ["RayHybridRouter"]


class RayHybridRouter:
    """Routes requests: to the pool where some node can hold the model, else to llama.cpp's RPC backends.

    Laying a model over backends is not there yet: asking for it raises ``ShardingUnavailable``. Many tasks run on Ray where
    this program is connected to a cluster, else on threads. ``coordinator_base_port`` is another name of
    ``coordinator_port``. ``sharded_models``: names of models that go to the backends whatever their size.
    """

    def __init__(
        self,
        ollama_pool: Optional[OllamaPool] = None,
        rpc_backends: Optional[Sequence[Mapping[str, Any]]] = None,
        coordinator_host: str = "127.0.0.1",
        coordinator_port: Optional[int] = None,
        *,
        coordinator_base_port: Optional[int] = None,
        sharded_models: Sequence[str] = (),
    ) -> None:
        if None not in (coordinator_port, coordinator_base_port) and coordinator_port != coordinator_base_port:
            raise ConfigError("coordinator_base_port: it is another name of coordinator_port; give one of them")
        self.ollama_pool = ollama_pool if ollama_pool is not None else OllamaPool()
        self.rpc_backends = [_backend(one) for one in rpc_backends or ()]
        self.coordinator_host = coordinator_host
        self.coordinator_port = coordinator_port or coordinator_base_port or 18080
        self.sharded_models = frozenset(sharded_models)

    @property
    def coordinator_base_port(self) -> int:
        return self.coordinator_port

    def route(self, model: str) -> str:
        """``"rpc"`` for a model of ``sharded_models``, and where there are backends for one that no node can hold
        (``pool.too_large_for_any``); else ``"pool"``."""
        if model in self.sharded_models or (self.rpc_backends and self.ollama_pool.too_large_for_any(model)):
            return "rpc"
        return "pool"

    def chat(self, model: str, messages: Sequence[Any], **arguments: Any) -> ChatResponse:
        """One chat, wherever its model can run."""
        self._refuse_sharded(model)
        answer: ChatResponse = self.ollama_pool.chat(model, messages, **arguments)
        return answer

    async def route_request(self, model: str, messages: Sequence[Any], **arguments: Any) -> ChatResponse:
        """``chat`` for programs that await."""
        self._refuse_sharded(model)
        return await self.ollama_pool.chat_async(model, messages, **arguments)

    def chat_many(self, model: str, conversations: Sequence[Sequence[Any]], **arguments: Any) -> List[ChatResponse]:
        """Many chats at once over the pool's nodes, the answers in order."""
        self._refuse_sharded(model)
        return self.ollama_pool.chat_batch(model, conversations, **arguments)

    def run(self, tasks: Sequence[Task], **arguments: Any) -> List[TaskResult[Any]]:
        """Many tasks at once, as ``sollol.execution.execute_parallel`` runs them."""
        for model in {task["model"] for task in tasks if isinstance(task, Mapping) and "model" in task}:
            self._refuse_sharded(model)
        return execution.execute_parallel(tasks, self.ollama_pool, **arguments)

    def _refuse_sharded(self, model: str) -> None:
        if self.route(model) == "pool":
            return
        backends = ", ".join(f"{one['host']}:{one['port']}" for one in self.rpc_backends) or "none"
        raise ShardingUnavailable(
            f"{model} is too large for any node, or named in sharded_models, and laying a model over RPC backends "
            f"({backends}) is not there yet; take a smaller quantization that one node can hold"
        )


def _backend(one: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return {"host": str(one["host"]), "port": int(one.get("port", 50052))}
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"rpc_backends: write {{'host': …, 'port': …}}, not {one!r}") from None
