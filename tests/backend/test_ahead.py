"""Things made ahead by a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from mocap_anything.backend.ahead import ahead


def test_order_is_kept_and_the_next_is_made_while_one_is_in_use() -> None:
    made: list[int] = []
    second = threading.Event()

    def things() -> Iterator[int]:
        for n in range(5):
            made.append(n)
            if n == 1:
                second.set()
            yield n

    taken = ahead(things())
    assert next(taken) == 0
    assert second.wait(10), "nobody has asked for it yet"
    assert list(taken) == [1, 2, 3, 4]
    assert made == [0, 1, 2, 3, 4]


def test_a_failure_is_raised_where_things_are_taken() -> None:
    def things() -> Iterator[int]:
        yield 1
        raise ValueError("unreadable")

    taken = ahead(things())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="unreadable"):
        next(taken)


def test_its_thread_ends_with_it() -> None:
    taken = ahead(iter(range(100)))
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
