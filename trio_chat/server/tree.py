"""The running tasks as a tree. Because concurrency is structured, it is complete."""

from __future__ import annotations

from collections.abc import Iterator

import trio

__all__ = ["Ages", "running_tasks", "task_tree"]


def task_tree() -> Iterator[str]:
    """Yield one line a task, indented below the task whose nursery it runs in."""
    for depth, task in running_tasks():
        yield "  " * depth + task.name


def running_tasks() -> Iterator[tuple[int, trio.lowlevel.Task]]:
    """Yield each task with its depth, after the one whose nursery it runs in."""
    root = trio.lowlevel.current_root_task()
    if root is not None:
        yield from _tasks(root, 0)


def _tasks(task: trio.lowlevel.Task, depth: int) -> Iterator[tuple[int, trio.lowlevel.Task]]:
    yield depth, task
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda each: each.name):
            yield from _tasks(child, depth + 1)


class Ages(trio.abc.Instrument):
    """Remembers when tasks began; trio itself does not."""

    def __init__(self) -> None:
        self._since = trio.current_time()
        self._begun: dict[trio.lowlevel.Task, float] = {}

    @classmethod
    def install(cls) -> Ages:
        """Begin to remember, for as long as trio runs."""
        ages = cls()
        trio.lowlevel.add_instrument(ages)
        return ages

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """A task begins."""
        self._begun[task] = trio.current_time()

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """A task has ended."""
        self._begun.pop(task, None)

    def age(self, task: trio.lowlevel.Task) -> float:
        """Return how many seconds it has been running; at least so many, if it is older."""
        return trio.current_time() - self._begun.get(task, self._since)
