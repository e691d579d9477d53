"""Many tasks over the pool: on this machine's threads, or on a Ray or Dask cluster that is there already.

A task is a mapping with the arguments of ``chat`` (it has ``messages``), ``embed`` (``input``) or ``generate``, or a
function that takes a pool and may do what it likes with it. However many workers a cluster has, one pool admits what all
of them ask, so the nodes are never given more than one program alone would give them.
"""

from __future__ import annotations

import sys
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Generic, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple, TypeVar, Union

from . import _asked
from ._asked import Asked
from ._progress import Progress
from .errors import ConfigError, RequestError, SollolError
from .pool import OllamaPool

__all__ = ["Cancel", "Cancelled", "Task", "TaskResult", "execute", "execute_parallel", "execute_sequential"]

T = TypeVar("T")
Task = Union[Mapping[str, Any], Callable[[OllamaPool], Any]]
Outcome = Tuple[int, "TaskResult[Any]"]

_threads = 64  # for functions at once, unless told otherwise


class Cancel(Protocol):
    """What ends a run early once it is set: a ``threading.Event``."""

    def is_set(self) -> bool: ...


class Cancelled(SollolError):
    """The task had not ended when the run was cancelled."""


class TaskResult(Generic[T]):
    """What became of one task: ``value``, or the ``error`` that it ended with."""

    __slots__ = ("value", "error")

    def __init__(self, value: Optional[T] = None, error: Optional[BaseException] = None) -> None:
        self.value = value
        self.error = error

    @property
    def ok(self) -> bool:
        return self.error is None

    def get(self) -> T:
        """The value; raises the error."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]

    def __repr__(self) -> str:
        return f"TaskResult({self.value!r})" if self.ok else f"TaskResult(error={self.error!r})"


def execute_parallel(
    tasks: Sequence[Task],
    pool: OllamaPool,
    engine: str = "auto",
    *,
    max_workers: Optional[int] = None,
    progress: Optional[bool] = None,
    cancel: Optional[Cancel] = None,
) -> List[TaskResult[Any]]:
    """Runs all tasks at once; the results in order, each with its value or its error.

    ``engine``: ``threads``, ``ray``, ``dask``; ``auto`` takes the cluster that this program is connected to, else threads.
    ``max_workers``: tasks at once. ``progress``: a bar (tqdm); None: on terminals and in notebooks, where tqdm is
    installed. Once ``cancel`` is set, requests under way are abandoned and what has not ended is ``Cancelled``; functions
    under way on threads are waited for.
    """
    if max_workers is not None and max_workers < 1:
        raise ConfigError(f"max_workers: write 1 or more, not {max_workers}")
    runs = _engine(engine)
    return _collect(tasks, runs(list(tasks), pool, max_workers, cancel or _Never()), progress)


def execute_sequential(
    tasks: Sequence[Task],
    pool: OllamaPool,
    *,
    progress: Optional[bool] = None,
    cancel: Optional[Cancel] = None,
) -> List[TaskResult[Any]]:
    """Runs one task after the other."""
    stop = cancel or _Never()
    outcomes = ((index, run_one(task, pool)) for index, task in enumerate(tasks) if not stop.is_set())
    return _collect(tasks, outcomes, progress)


def execute(tasks: Sequence[Task], pool: OllamaPool, **arguments: Any) -> List[TaskResult[Any]]:
    """Runs the tasks at once or one after the other, whichever ends sooner on these nodes (``pool.advise``)."""
    if _advised(tasks, pool):
        return execute_parallel(tasks, pool, **arguments)
    kept = {name: value for name, value in arguments.items() if name in ("progress", "cancel")}
    return execute_sequential(tasks, pool, **kept)


def _advised(tasks: Sequence[Task], pool: OllamaPool) -> bool:
    try:
        return pool.should_use_parallel_execution(len(tasks))
    except RequestError as refused:
        if refused.status_code != 403:
            raise
        return True  # the gateway tells only an admin of its nodes; it admits no more than they bear


def request_of(task: Task) -> Optional[Asked[Any]]:
    """The request that a task is; None: it is a function."""
    if not isinstance(task, Mapping):
        if not callable(task):
            raise ConfigError(f"tasks: a task is a mapping or a function, not {task!r}")
        return None
    if task.get("stream"):
        raise ConfigError("tasks: stream: a task's result is whole; leave stream out, or write a function")
    make: Callable[..., Asked[Any]] = (
        _asked.chat if "messages" in task else _asked.embed if "input" in task else _asked.generate
    )
    try:
        return make(**task)
    except TypeError as wrong:
        raise ConfigError(f"tasks: {wrong}") from None


def run_one(task: Task, pool: OllamaPool) -> TaskResult[Any]:
    """Runs a task here and now."""
    try:
        asked = request_of(task)
        if asked is not None:
            return TaskResult(pool._ask(asked))
        assert callable(task)
        return TaskResult(task(pool))
    except Exception as failure:
        return TaskResult(error=failure)


class _Never:
    def is_set(self) -> bool:
        return False


# ---- engines

Engine = Callable[[List[Task], OllamaPool, Optional[int], Cancel], Iterator[Outcome]]


def _engine(name: str) -> Engine:
    if name == "auto":
        name = _connected_engine()
    if name == "threads":
        return run_on_threads
    if name == "ray":
        from ._on_ray import run_on_ray

        return run_on_ray
    if name == "dask":
        from ._on_dask import run_on_dask

        return run_on_dask
    raise ConfigError(f"engine: write auto, threads, ray or dask, not {name!r}")


def _connected_engine() -> str:
    """What this program is connected to already; nothing is imported to find out."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return "ray"
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        try:
            distributed.get_client()
            return "dask"
        except ValueError:
            pass
    return "threads"


def run_on_threads(tasks: List[Task], pool: OllamaPool, width: Optional[int], cancel: Cancel) -> Iterator[Outcome]:
    """Requests on this thread, all at once; functions on threads."""
    requests: List[Tuple[int, Asked[Any]]] = []
    functions: List[int] = []
    for index, task in enumerate(tasks):
        try:
            asked = request_of(task)
        except ConfigError as wrong:
            yield index, TaskResult(error=wrong)
            continue
        if asked is None:
            functions.append(index)
        else:
            requests.append((index, asked))
    with ThreadPoolExecutor(width or _threads, thread_name_prefix="sollol-task") as threads:
        futures = {threads.submit(run_one, tasks[index], pool): index for index in functions}
        try:
            answers = pool._ask_each([asked for _, asked in requests], width, cancel.is_set)
            for place, answer in answers:
                failed = isinstance(answer, SollolError)
                yield requests[place][0], TaskResult(error=answer) if failed else TaskResult(answer)
            yield from as_they_end(futures, cancel)
        finally:
            for future in futures:
                future.cancel()


def as_they_end(futures: Mapping[Future[TaskResult[Any]], int], cancel: Cancel) -> Iterator[Outcome]:
    pending = set(futures)
    while pending and not cancel.is_set():
        ended, pending = wait(pending, timeout=0.1, return_when=FIRST_COMPLETED)
        for future in ended:
            yield futures[future], future.result()


# ---- collecting


def _collect(tasks: Sequence[Task], outcomes: Iterator[Outcome], progress: Optional[bool]) -> List[TaskResult[Any]]:
    results: List[TaskResult[Any]] = [
        TaskResult(error=Cancelled("the run was cancelled before this task had ended")) for _ in tasks
    ]
    with Progress(len(tasks), progress) as bar:
        for index, result in outcomes:
            results[index] = result
            bar.advance()
    return results
