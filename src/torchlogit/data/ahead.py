"""Stages that overlap: what one makes while the next is at work. Order is kept, and few items exist at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")

GRACE = 2.0  # seconds to wait for a thread whose work is no longer wanted


@dataclass(frozen=True, slots=True)
class _End:
    """What comes after the last item: why there is no more."""

    error: BaseException | None


def ahead(items: Iterable[T]) -> Generator[T, None, None]:
    """The same items in the same order, each made in a thread of its own while the one before is worked on.

    An error comes in its item's turn. Whoever stops early closes this generator, which waits a little for what is in
    the making; a reader that waits for its input is left to wait.

    >>> list(ahead("abc"))
    ['a', 'b', 'c']
    """
    made: SimpleQueue[T | _End] = SimpleQueue()
    taken = Semaphore(0)
    unwanted = Event()

    def make() -> None:
        source = iter(items)
        try:
            for item in source:
                made.put(item)
                del item
                taken.acquire()
                if unwanted.is_set():
                    break
            made.put(_End(None))
        except BaseException as error:
            made.put(_End(error))
        finally:
            if isinstance(source, Generator):
                source.close()  # ends the threads of the stages before

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            taken.release()
            yield item
        if item.error is not None:
            raise item.error
    finally:
        unwanted.set()
        taken.release()
        thread.join(GRACE)
