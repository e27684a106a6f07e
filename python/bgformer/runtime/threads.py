"""Threads: numbers are added up on one of them, and several do independent work.

A sum that threads share depends in its last digits on how it is shared, and clusters can depend on
these digits. So the results are the same for any number of threads.
"""

from __future__ import annotations

import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Given = TypeVar("Given")
Done = TypeVar("Done")

_allowed = 1
"""Number of threads that `at_once` may use."""
_libraries = ThreadpoolController()
"""The libraries with threads of their own; to find them takes as long as some of the work."""


@contextmanager
def one_thread() -> Iterator[int]:
    """Run torch, BLAS and OpenMP on one thread, and let `at_once` use as many as torch could.

    Yields
    ------
    The number of threads that torch was allowed before.
    """
    global _allowed, _libraries
    before, allowed = torch.get_num_threads(), _allowed
    torch.set_num_threads(1)
    _allowed = max(before, allowed)
    _libraries = ThreadpoolController()  # some may have been loaded since
    try:
        with _libraries.limit(limits=1):
            yield _allowed
    finally:
        torch.set_num_threads(before)
        _allowed = allowed


def at_once(work: Callable[[Given], Done], items: Iterable[Given]) -> list[Done]:
    """Return the results of independent work on some items, in order; see `one_thread`."""
    items = list(items)
    if _allowed == 1 or len(items) == 1:
        return [work(item) for item in items]

    def alone(item: Given) -> Done:
        with _libraries.limit(limits=1):  # a thread has an OpenMP limit of its own
            return work(item)

    # Filters of warnings belong to the process; libraries that change them for a moment, in
    # several threads, would leave theirs behind.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(_allowed, len(items))) as threads:
        return list(threads.map(alone, items))


def ahead(
    work: Callable[[Given], Done], items: Iterable[Given], n_threads: int = 1
) -> Iterator[Done]:
    """Yield the results of work on some items, in order; meanwhile, threads work on the next."""
    with ThreadPoolExecutor(n_threads) as threads:
        in_progress: deque[Future[Done]] = deque()  # no more than these are held
        for item in items:
            in_progress.append(threads.submit(work, item))
            if len(in_progress) > n_threads:
                yield in_progress.popleft().result()
        while in_progress:
            yield in_progress.popleft().result()
