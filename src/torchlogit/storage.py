"""Storage for arrays with one entry per row: RAM, or memory-mapped files.

A memory-mapped array is read and written like any other; the operating system keeps in RAM what fits, and writes the
rest to disk. The files of temporary arrays are unlinked as soon as they are open, so that they vanish with the array or
the process, however that ends. The files of saved arrays stay, for a later process.
"""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from torchlogit.errors import InputError

AnyArray = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Storage:
    """Where arrays of a known shape live: in mapped temporary files of a folder, or, without a folder, in RAM.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     values = Storage(Path(folder)).empty((2,), np.float32)
    ...     values[:] = 1, 2
    ...     values.tolist(), os.listdir(folder)
    ([1.0, 2.0], [])
    """

    folder: Path | None = None

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
        """A new array of arbitrary values; InputError where the disk is full or cannot be written to."""
        if self.folder is None:
            return np.empty(shape, dtype)
        # All of its disk space is allocated at once: writing to a mapping of a full disk would kill the process.
        size = math.prod(shape) * np.dtype(dtype).itemsize
        handle = _temporary_file(self.folder)
        try:
            with _readable_errors(self.folder):
                if size:
                    os.posix_fallocate(handle, 0, size)
                return _mapped(handle, shape, dtype)
        finally:
            os.close(handle)


IN_MEMORY = Storage()


@dataclass(slots=True)
class TemporaryArrays:
    """Arrays in RAM up to max_bytes in all; beyond that, all of them in temporary files of the folder.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arrays = TemporaryArrays(Path(folder), max_bytes=8)
    ...     for values in ([1, 2], [3]):
    ...         arrays.append("x", np.array(values, np.int32))
    ...     arrays.spilled, arrays.array("x", np.int32).tolist()
    (True, [1, 2, 3])
    """

    folder: Path
    max_bytes: int
    n_bytes: int = 0
    _in_memory: dict[str, list[AnyArray]] = field(default_factory=dict)
    _files: dict[str, _File] = field(default_factory=dict)

    @property
    def spilled(self) -> bool:
        """Whether the arrays are in files."""
        return self.n_bytes > self.max_bytes

    @property
    def storage(self) -> Storage:
        """A storage for further arrays of a known shape: RAM, or mapped files where these arrays are in files."""
        return Storage(self.folder) if self.spilled else IN_MEMORY

    def append(self, name: str, values: AnyArray) -> None:
        """Appends values to an array; InputError where the disk is full or cannot be written to."""
        self.n_bytes += values.nbytes
        self._in_memory.setdefault(name, []).append(values.reshape(-1))
        if self.spilled:
            self._move_to_files()

    def array(self, name: str, dtype: DTypeLike) -> AnyArray:
        """The values that were appended, flat."""
        if name in self._files:
            return self._files[name].array(dtype)
        parts = self._in_memory.get(name, [])
        if len(parts) != 1:
            parts = self._in_memory[name] = [np.concatenate([np.empty(0, dtype), *parts])]
        return parts[0]

    def _move_to_files(self) -> None:
        for name, parts in self._in_memory.items():
            if name not in self._files:
                self._files[name] = _File(self.folder, _temporary_file(self.folder))
            for part in parts:
                self._files[name].append(part)
        self._in_memory.clear()


@dataclass(frozen=True, slots=True)
class SavedArrays:
    """Arrays in files of a folder, which stay there: array NAME is in file rows-NAME.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arrays = SavedArrays(Path(folder))
    ...     arrays.append("x", np.array([7, 8], np.int32))
    ...     SavedArrays.opened(Path(folder), arrays.sizes()).array("x", np.int32).tolist()
    [7, 8]
    """

    folder: Path
    _files: dict[str, _File] = field(default_factory=dict)

    @classmethod
    def opened(cls, folder: Path, sizes: Mapping[str, int]) -> Self:
        """The arrays that another process saved; LookupError where a file is missing, or of another size.

        sizes: the size of each array in bytes, as `sizes` gave them.
        """
        arrays = cls(folder)
        for name, size in sizes.items():
            path = arrays._path(name)
            if not path.exists() or path.stat().st_size != size:
                raise LookupError(f"{path} is missing or has another size")
            arrays._files[name] = _File(folder, os.open(path, os.O_RDWR), size)
        return arrays

    @property
    def storage(self) -> Storage:
        """A storage for further arrays of a known shape: temporary files in the same folder."""
        return Storage(self.folder)

    def append(self, name: str, values: AnyArray) -> None:
        """Appends values to an array; InputError where the disk is full or cannot be written to."""
        if name not in self._files:
            with _readable_errors(self.folder):
                handle = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            self._files[name] = _File(self.folder, handle)
        self._files[name].append(values)

    def array(self, name: str, dtype: DTypeLike) -> AnyArray:
        """The values that were appended, flat."""
        return self._files[name].array(dtype)

    def sizes(self) -> dict[str, int]:
        """Flush the files to the disk, and return the size of each array in bytes."""
        for file in self._files.values():
            os.fsync(file.handle)
        return {name: file.n_bytes for name, file in self._files.items()}

    def _path(self, name: str) -> Path:
        return self.folder / f"rows-{name}"


NamedArrays: TypeAlias = TemporaryArrays | SavedArrays
"""Flat arrays by name: `append` adds values, all of one type, and `array` returns all of them."""


@dataclass(slots=True)
class _File:
    """An open file of values, closed with this object."""

    folder: Path
    handle: int
    n_bytes: int = 0

    def append(self, values: AnyArray) -> None:
        if not values.size:
            return
        left = memoryview(np.ascontiguousarray(values).view(np.uint8).reshape(-1).data)
        with _readable_errors(self.folder):
            while left:
                left = left[os.write(self.handle, left) :]
        self.n_bytes += values.nbytes

    def array(self, dtype: DTypeLike) -> AnyArray:
        return _mapped(self.handle, (self.n_bytes // np.dtype(dtype).itemsize,), dtype)

    def __del__(self) -> None:
        os.close(self.handle)


def _temporary_file(folder: Path) -> int:
    """The handle of a new file without a name, whose space is freed when it is closed."""
    with _readable_errors(folder):
        handle, name = tempfile.mkstemp(dir=folder, prefix=".rows.")
        os.unlink(name)
    return handle


def _mapped(handle: int, shape: Sequence[int], dtype: DTypeLike) -> AnyArray:
    """The array that an open file holds, as a shared mapping; writing to it writes to the file."""
    if not math.prod(shape):
        return np.empty(shape, dtype)
    mapping = mmap.mmap(handle, 0)
    if hasattr(mmap, "MADV_SEQUENTIAL"):  # without it, every page fault also reads pages before the one that is needed
        mapping.madvise(mmap.MADV_SEQUENTIAL)
    return np.frombuffer(mapping, dtype, count=math.prod(shape)).reshape(shape)


@contextmanager
def _readable_errors(folder: Path) -> Iterator[None]:
    """Raises InputError for an error of the operating system."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            why = "the disk is full; free some space, or choose another folder (TMPDIR or --cache)"
        else:
            why = f"cannot write there ({error.strerror}); choose another folder (TMPDIR or --cache)"
        raise InputError(f"{folder}: {why}") from None
