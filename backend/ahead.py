"""Things made while the ones before them are in use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")


def ahead(things: Iterator[Thing]) -> Iterator[Thing]:
    """The same things in their order, each made by a thread while the one before it is in use; what fails there is raised here, and where taking ends early
    the thread has ended too."""
    end = object()
    with ThreadPoolExecutor(1, "ahead") as thread:
        pending = thread.submit(next, things, end)
        while (thing := pending.result()) is not end:
            pending = thread.submit(next, things, end)
            yield thing  # type: ignore[misc]
