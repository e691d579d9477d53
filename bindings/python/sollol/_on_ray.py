"""Tasks on a Ray cluster."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

from ._extras import extra
from ._shared import PoolHolder, Question, Reply, SharedPool
from .errors import SollolError
from .execution import Cancel, Outcome, Task, TaskResult, request_of, run_one
from .pool import OllamaPool

ray: Any = extra("ray")

_width = 1000  # tasks handed to the cluster at once
_look_every_s = 0.1
_retries = 3  # of a task whose worker died


class _Ask:
    """Asks through the actor; goes to workers as it is."""

    def __init__(self, holder: Any) -> None:
        self.holder = holder

    def __call__(self, question: Question) -> Reply:
        reply: Reply = ray.get(self.holder.ask.remote(question))
        return reply


def hold(pool: OllamaPool, width: int) -> Any:
    """The pool in an actor, which comes back with the same nodes where its process dies."""
    holder = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=width)(PoolHolder)
    return holder.remote(pool)


def run_on_ray(tasks: List[Task], pool: OllamaPool, width: Optional[int], cancel: Cancel) -> Iterator[Outcome]:
    """Functions run on the cluster's workers; requests go straight to the pool's actor. With a pool that asks a gateway,
    that gateway admits, and the workers ask it themselves."""
    if not ray.is_initialized():
        ray.init()
    most = width or _width
    holder = hold(pool, most)
    shared = pool if pool.gateway is not None else SharedPool(_Ask(holder))
    there = ray.put(shared)
    run = ray.remote(max_retries=_retries)(run_one)
    under_way: Dict[Any, int] = {}
    rest = iter(enumerate(tasks))
    try:
        while not cancel.is_set():
            while len(under_way) < most:
                index, task = next(rest, (None, None))
                if index is None or task is None:
                    break
                try:
                    asked = request_of(task)
                except SollolError as wrong:
                    yield index, TaskResult(error=wrong)
                    continue
                if asked is None:
                    under_way[run.remote(task, there)] = index
                else:
                    under_way[holder.ask.remote((asked.method, asked.target, asked.body, asked.fields))] = index
            if not under_way:
                return
            ended, _ = ray.wait(list(under_way), timeout=_look_every_s)
            for one in ended:
                index = under_way.pop(one)
                yield index, _result(tasks[index], one)
    finally:
        for one in under_way:
            ray.cancel(one, force=False)
        ray.kill(holder)


def _result(task: Task, ended: Any) -> TaskResult[Any]:
    try:
        value = ray.get(ended)
        asked = request_of(task)
        if asked is None:
            assert isinstance(value, TaskResult)
            return value
        return TaskResult(asked.answer(*value))
    except (SollolError, ray.exceptions.RayError) as failure:
        return TaskResult(error=failure)
