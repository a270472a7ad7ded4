"""The running tasks as a tree. Because concurrency is structured, it is complete."""

from __future__ import annotations

from collections.abc import Iterator

import trio

__all__ = ["task_tree"]


def task_tree() -> Iterator[str]:
    """Yield one line a task, indented below the task whose nursery it runs in."""
    root = trio.lowlevel.current_root_task()
    if root is not None:
        yield from _lines(root, 0)


def _lines(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    yield "  " * depth + task.name
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda each: each.name):
            yield from _lines(child, depth + 1)
