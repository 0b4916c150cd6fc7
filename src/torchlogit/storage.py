"""Where what is as long as the table lives: in main memory, or in files of a folder that are mapped into it.

A mapped array is read and written like any other; the system keeps in memory what it has room for and writes the rest
to disk. Its file has no name any more: it is gone with the array, or with the process, however that ends. Only what is
to be kept for a later process has names: rows-0, rows-1, ... in the order in which the arrays were asked for.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from torchlogit.errors import InputError

AnyArray = NDArray[Any]


class Growing(Protocol):
    """An array that is written from its beginning to its end."""

    def append(self, part: AnyArray) -> None:
        """Adds what comes next."""
        ...

    def array(self) -> AnyArray:
        """All of it, flat."""
        ...


class Storage(Protocol):
    """Where arrays live."""

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """An array to be filled."""
        ...

    def growing(self, dtype: DTypeLike) -> Growing:
        """An array to be added to."""
        ...


@dataclass(frozen=True, slots=True)
class InMemory:
    """Main memory.

    >>> rows = InMemory().growing(np.int64)
    >>> rows.append(np.array([1, 2])), rows.append(np.array([3]))
    (None, None)
    >>> rows.array().tolist()
    [1, 2, 3]
    """

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """An array to be filled."""
        return np.empty(shape, dtype)

    def growing(self, dtype: DTypeLike) -> Growing:
        """An array to be added to."""
        return _Parts(np.dtype(dtype))


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Files in a folder; InputError where it is full or cannot be written to.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rows = OnDisk(Path(folder)).growing(np.float32)
    ...     rows.append(np.array([[1.0, 2.0]]))
    ...     rows.array().tolist(), os.listdir(folder)
    ([1.0, 2.0], [])
    """

    folder: Path

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """An array to be filled, its place on the disk taken already: a full disk must not be found out later."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        with self._file() as handle, _explained(self.folder):
            if size:
                os.posix_fallocate(handle, 0, size)
            return mapped(handle, shape, dtype)

    def growing(self, dtype: DTypeLike) -> Growing:
        """An array to be added to."""
        with self._file() as handle:
            return _File(self.folder, np.dtype(dtype), os.dup(handle))

    @contextmanager
    def _file(self) -> Iterator[int]:
        """A file without a name."""
        with _explained(self.folder):
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".rows.")
        try:
            os.unlink(name)
            yield handle
        finally:
            os.close(handle)


@dataclass(slots=True)
class Spilling:
    """Main memory, until what has grown there takes more than `most` bytes in all; from then on, all of it, a folder.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     storage = Spilling(Path(folder), most=8)
    ...     rows = storage.growing(np.int32)
    ...     for part in ([1, 2], [3]):
    ...         rows.append(np.array(part))
    ...     storage.spilled, rows.array().tolist()
    (True, [1, 2, 3])
    """

    folder: Path
    most: int
    size: int = 0
    grown: list[_Movable] = field(default_factory=list)

    @property
    def spilled(self) -> bool:
        """Whether it was too much for main memory."""
        return self.size > self.most

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """An array to be filled, where those that have grown are by now."""
        return self._place.empty(shape, dtype)

    def growing(self, dtype: DTypeLike) -> Growing:
        """An array to be added to."""
        self.grown.append(_Movable(self, np.dtype(dtype), self._place.growing(dtype)))
        return self.grown[-1]

    @property
    def _place(self) -> Storage:
        return OnDisk(self.folder) if self.spilled else IN_MEMORY

    def take(self, size: int) -> None:
        """Counts more bytes, and moves all that has grown so far when they are too many."""
        before, self.size = self.spilled, self.size + size
        if self.spilled and not before:
            for moved in self.grown:
                moved.move(OnDisk(self.folder).growing(moved.dtype))


@dataclass(frozen=True, slots=True)
class Keeping:
    """Files in a folder, of which those that grow stay there; `sizes` of these in bytes, for `Kept`.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keeping = Keeping(Path(folder))
    ...     keeping.growing(np.int32).append(np.array([7, 8]))
    ...     Kept(Path(folder), keeping.finished()).growing(np.int32).array().tolist()
    [7, 8]
    """

    folder: Path
    files: list[_File] = field(default_factory=list)

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """An array to be filled, which is not kept."""
        return OnDisk(self.folder).empty(shape, dtype)

    def growing(self, dtype: DTypeLike) -> Growing:
        """An array to be added to."""
        path = _kept_path(self.folder, len(self.files))
        with _explained(self.folder):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.files.append(_File(self.folder, np.dtype(dtype), handle))
        return self.files[-1]

    def finished(self) -> list[int]:
        """The sizes of the files, once they are on the disk for good."""
        for file in self.files:
            os.fsync(file.handle)
        return [file.size * file.dtype.itemsize for file in self.files]


@dataclass(frozen=True, slots=True)
class Kept:
    """The files that `Keeping` left in a folder, in the same order; nothing is added to them.

    LookupError where one of them is not there any more, or of another size.
    """

    folder: Path
    sizes: Sequence[int]
    given: list[Growing] = field(default_factory=list)

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """An array to be filled, which is not kept."""
        return OnDisk(self.folder).empty(shape, dtype)

    def growing(self, dtype: DTypeLike) -> Growing:
        """The next array, complete."""
        path, size = _kept_path(self.folder, len(self.given)), self.sizes[len(self.given)]
        if not path.exists() or path.stat().st_size != size:
            raise LookupError(f"{path} is not what it was")
        handle = os.open(path, os.O_RDWR)
        self.given.append(_File(self.folder, np.dtype(dtype), handle, size // np.dtype(dtype).itemsize))
        return self.given[-1]


IN_MEMORY = InMemory()


def _kept_path(folder: Path, index: int) -> Path:
    return folder / f"rows-{index}"


def mapped(handle: int, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
    """The array that an open file holds, as a shared mapping; writing to it writes to the file."""
    if not math.prod(shape):
        return np.empty(shape, dtype)
    mapping = mmap.mmap(handle, 0)
    if hasattr(mmap, "MADV_SEQUENTIAL"):  # else every miss also reads again what lies before it
        mapping.madvise(mmap.MADV_SEQUENTIAL)
    return np.frombuffer(mapping, dtype, count=math.prod(shape)).reshape(shape)


def write_all(handle: int, part: AnyArray, folder: Path) -> None:
    """Writes an array's bytes to an open file; InputError where the disk is full."""
    left = memoryview(np.ascontiguousarray(part).view(np.uint8).reshape(-1).data) if part.size else memoryview(b"")
    with _explained(folder):
        while left:
            left = left[os.write(handle, left) :]


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            why = "the disk is full; free some space, or choose another folder (TMPDIR or --cache)"
        else:
            why = f"cannot write there ({error.strerror}); choose another folder (TMPDIR or --cache)"
        raise InputError(f"{folder}: {why}") from None


@dataclass(slots=True)
class _Movable:
    storage: Spilling
    dtype: np.dtype[Any]
    held: Growing

    def append(self, part: AnyArray) -> None:
        self.storage.take(part.size * self.dtype.itemsize)
        self.held.append(part)

    def array(self) -> AnyArray:
        return self.held.array()

    def move(self, place: Growing) -> None:
        place.append(self.held.array())
        self.held = place


@dataclass(slots=True)
class _Parts:
    dtype: np.dtype[Any]
    parts: list[AnyArray] = field(default_factory=list)

    def append(self, part: AnyArray) -> None:
        self.parts.append(part.astype(self.dtype, copy=False).reshape(-1))

    def array(self) -> AnyArray:
        if len(self.parts) != 1:
            self.parts = [np.concatenate([np.empty(0, self.dtype), *self.parts])]
        return self.parts[0]


@dataclass(slots=True)
class _File:
    folder: Path
    dtype: np.dtype[Any]
    handle: int
    size: int = 0

    def append(self, part: AnyArray) -> None:
        write_all(self.handle, part.astype(self.dtype, copy=False), self.folder)
        self.size += part.size

    def array(self) -> AnyArray:
        return mapped(self.handle, (self.size,), self.dtype)

    def __del__(self) -> None:
        os.close(self.handle)
