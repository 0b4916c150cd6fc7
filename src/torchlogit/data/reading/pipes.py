"""Standard input and pipes. They can be read only once, so their bytes are copied to a temporary file."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
import sys
import tempfile
import threading
import weakref
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pyarrow as pa

from torchlogit.errors import DataError

STANDARD_INPUT = "standard input"
_READ_BYTES = 1 << 20  # bytes that one read from the pipe asks for; more take more memory, fewer more calls


def standard_input() -> Spool:
    """The bytes of standard input."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError("there is no standard input to read; give a file")
    return Spool(lambda: contextlib.nullcontext(stream), STANDARD_INPUT, "-")


def pipe(path: Path, display_name: str) -> Spool:
    """The bytes of a pipe that has a path, such as /dev/stdin or bash's <(command)."""
    return Spool(lambda: path.open("rb", buffering=0), display_name, str(path))


def is_pipe(path: Path) -> bool:
    """Whether the bytes at a path can be read only once: those of a pipe, a socket, a terminal."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


class Spool:
    """An `Input` that can be read only once, and that copies what it reads to an unnamed temporary file.

    The first reading takes bytes from the pipe, as fast as the other program writes them; later readings read the file.
    """

    def __init__(self, opens: Callable[[], AbstractContextManager[IO[bytes]]], display_name: str, path: str) -> None:
        self.display_name = display_name
        self.path = path
        self._opens = opens
        self._stream: IO[bytes] | None = None
        self._file, name = tempfile.mkstemp(prefix="torchlogit-")
        os.unlink(name)
        self._opened = contextlib.ExitStack()
        weakref.finalize(self, _close, self._opened, self._file)
        self._lock = threading.Lock()
        self._size = 0
        self._checksum = 0
        self._ended = False

    def open(self) -> pa.NativeFile:
        """A seekable stream of all bytes."""
        return pa.PythonFile(_SpoolStream(self), mode="r")

    def fingerprint(self) -> str:
        """Size and checksum of all bytes; waits for the end of the pipe."""
        self.size()
        return f"{self.display_name} {self._size} {self._checksum:08x}"

    def ready(self) -> bool:
        """Whether a read returns at once: the pipe has bytes, has ended, or has not been opened yet."""
        if self._ended or self._stream is None:
            return True
        try:
            return bool(select.select([self._stream], [], [], 0)[0])
        except (OSError, ValueError):  # a stream that is not a file of the operating system
            return True

    @property
    def warning(self) -> str:
        """A sentence on how many bytes have been written to disk, and where."""
        return f"kept in a temporary file in {tempfile.gettempdir()}, to be read again: {self._size:,} bytes so far"

    def size(self) -> int:
        """The number of bytes; waits for the end of the pipe."""
        while not self._ended:
            self.read_at(self._size, _READ_BYTES)
        return self._size

    def read_at(self, position: int, count: int) -> bytes:
        """Between 1 and `count` bytes, starting at a position; no bytes only at the end."""
        with self._lock:
            while position >= self._size and not self._ended:
                self._copy_more()
        return os.pread(self._file, count, position)

    def _copy_more(self) -> None:
        """Read once from the pipe, and append to the file."""
        if self._stream is None:
            self._stream = self._opened.enter_context(self._opens())
        read = getattr(self._stream, "read1", self._stream.read)(_READ_BYTES)
        self._ended = not read
        try:
            written = 0
            while written < len(read):
                written += os.pwrite(self._file, read[written:], self._size + written)
        except OSError as error:
            raise DataError(
                f"{self.display_name} cannot be kept in {tempfile.gettempdir()}: {error.strerror}; "
                f"set TMPDIR to a folder with more space, or give a file"
            ) from None
        if self._ended:
            self._opened.close()
        self._size += len(read)
        self._checksum = zlib.crc32(read, self._checksum)


def _close(opened: contextlib.ExitStack, file: int) -> None:
    opened.close()
    os.close(file)


class _SpoolStream(io.RawIOBase):
    """A seekable stream of the bytes of a spool; each reading has its own."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: lambda: 0, io.SEEK_CUR: lambda: self._position, io.SEEK_END: self._spool.size}[whence]()
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of those that have arrived; waits only if there are none yet."""
        found = self._spool.read_at(self._position, self._spool.size() - self._position if size < 0 else size)
        self._position += len(found)
        return found
