"""Arrays of a stream: a queue of rows, and the restoring of arrays from a record."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from torchlogit.errors import InputError

Array = NDArray[np.float64]

SHARE = "share_"  # the names in model files of the class share's arrays, which earlier versions lack, begin with this


class RowQueue:
    """Rows that wait until there are enough of them: parallel arrays with one entry per row, in a fixed order.

    row_shapes: the shape of each array's entries, by the name that the array has in model files.

    >>> queue = RowQueue({"X": (2,), "weight": ()})
    >>> queue.append(np.ones((3, 2)), np.ones(3))
    >>> queue.drop(1)
    >>> len(queue), [part.shape for part in queue.first(5)]
    (2, [(2, 2), (2,)])
    """

    def __init__(self, row_shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._arrays = {name: np.zeros((0, *shape)) for name, shape in row_shapes.items()}

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def arrays(self) -> dict[str, Array]:
        """The arrays by their names in model files."""
        return dict(self._arrays)

    def append(self, *parts: Array) -> None:
        """Add rows: one array for each of the queue's."""
        for name, part in zip(self._arrays, parts, strict=True):
            self._arrays[name] = np.concatenate([self._arrays[name], part])

    def first(self, n: int) -> tuple[Array, ...]:
        """The first n rows, or all where there are fewer."""
        return tuple(array[:n] for array in self._arrays.values())

    def drop(self, n: int) -> None:
        """Take the first n rows away."""
        for name, array in self._arrays.items():
            self._arrays[name] = array[n:]


def without_share(recorded: Mapping[str, Array]) -> bool:
    """Whether a record is of an earlier version, which kept no class share.

    >>> without_share({"A": np.zeros(1)}), without_share({"A": np.zeros(1), "share_seen": np.zeros(3)})
    (True, False)
    """
    return not any(name.startswith(SHARE) for name in recorded)


def put_back(recorded: Mapping[str, Array], arrays: Mapping[str, Array], queue: RowQueue) -> None:
    """Write a record's arrays into those of a new stream, and its waiting rows into the empty queue, by name.

    InputError where one is missing or has another shape; the queue's arrays may have any number of rows.
    """
    for name, array in {**arrays, **queue.arrays()}.items():
        found, fixed = recorded.get(name), slice(int(name in queue.arrays()), None)
        if found is None or found.ndim != array.ndim or found.shape[fixed] != array.shape[fixed]:
            raise InputError(f"the stream's record holds no {name} of shape {array.shape}: it is damaged; train again")
    for name, array in arrays.items():
        array[...] = recorded[name]
    queue.append(*(recorded[name] for name in queue.arrays()))
