"""Standard input and pipes, which give their bytes once: kept in a temporary file, so that they can be read again."""

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
_PIECE_BYTES = 1 << 20


def standard_input() -> Spool:
    """What is on standard input."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:
        raise DataError("there is no standard input to read; give a file")
    return Spool(lambda: contextlib.nullcontext(stream), STANDARD_INPUT, "-")


def pipe(path: Path, display_name: str) -> Spool:
    """What comes out of a pipe that has a name, such as /dev/stdin or bash's <(command)."""
    return Spool(lambda: path.open("rb", buffering=0), display_name, str(path))


def is_pipe(path: Path) -> bool:
    """Whether a path leads to something that can be read once: a pipe, a socket, a terminal."""
    mode = path.stat().st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISBLK(mode))


class Spool:
    """Bytes that come once, each written to a temporary file without a name when it is first asked for.

    So the first reading goes at the pace of what writes them, and later ones read the file.
    """

    def __init__(self, opens: Callable[[], AbstractContextManager[IO[bytes]]], display_name: str, path: str) -> None:
        self.display_name = display_name
        self.path = path
        self._opens = opens
        self._from: IO[bytes] | None = None
        self._kept, name = tempfile.mkstemp(prefix="torchlogit-")
        os.unlink(name)
        self._opened = contextlib.ExitStack()
        weakref.finalize(self, _close, self._opened, self._kept)
        self._lock = threading.Lock()
        self._size = 0
        self._checksum = 0
        self._ended = False

    def open(self) -> pa.NativeFile:
        """The bytes from the first one on."""
        return pa.PythonFile(_Reading(self), mode="r")

    def state(self) -> str:
        """Size and checksum of all there is: waits for its end."""
        self.size()
        return f"{self.display_name} {self._size} {self._checksum:08x}"

    def ready(self) -> bool:
        """Whether a pipe has more to give now, or has ended; a reading again, of what is kept, does not ask."""
        if self._ended or self._from is None:
            return True
        try:
            return bool(select.select([self._from], [], [], 0)[0])
        except (OSError, ValueError):  # no file of the system's
            return True

    @property
    def warning(self) -> str:
        """What has been written to disk, and where."""
        return f"kept in a temporary file in {tempfile.gettempdir()}, to be read again: {self._size:,} bytes so far"

    def size(self) -> int:
        """The number of bytes there are: waits for their end."""
        while not self._ended:
            self.read_at(self._size, _PIECE_BYTES)
        return self._size

    def read_at(self, place: int, count: int) -> bytes:
        """Up to `count` bytes from a place on, none at the end alone."""
        with self._lock:
            while place >= self._size and not self._ended:
                self._take()
        return os.pread(self._kept, count, place)

    def _take(self) -> None:
        if self._from is None:
            self._from = self._opened.enter_context(self._opens())
        taken = getattr(self._from, "read1", self._from.read)(_PIECE_BYTES)
        self._ended = not taken
        try:
            written = 0
            while written < len(taken):
                written += os.pwrite(self._kept, taken[written:], self._size + written)
        except OSError as error:
            raise DataError(
                f"{self.display_name} cannot be kept in {tempfile.gettempdir()}: {error.strerror}; "
                f"set TMPDIR to a folder with room, or give a file"
            ) from None
        if self._ended:
            self._opened.close()
        self._size += len(taken)
        self._checksum = zlib.crc32(taken, self._checksum)


def _close(opened: contextlib.ExitStack, kept: int) -> None:
    opened.close()
    os.close(kept)


class _Reading(io.RawIOBase):
    """One reading of a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: lambda: 0, io.SEEK_CUR: lambda: self._place, io.SEEK_END: self._spool.size}[whence]()
        self._place = start + offset
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Fewer bytes than asked for where there are no more yet."""
        piece = self._spool.read_at(self._place, self._spool.size() - self._place if size < 0 else size)
        self._place += len(piece)
        return piece
