"""The bytes of an input: files on disk, decompressed text, and text cut into parts that end where a record ends."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, cast

import pyarrow as pa

from torchlogit.data.reading.pipes import Spool
from torchlogit.data.wording import one_line
from torchlogit.errors import DataError

# The length in bytes of the longest record (a row of text) that is accepted. Without a limit, a file of another format
# or a quote that is never closed would fill the memory. A larger limit accepts longer rows.
MAX_RECORD_BYTES = 256 << 20

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some programs write it at the start of a UTF-8 file
_COMPRESSION_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # the first bytes of compressed files


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A regular file. display_name: its name in messages, without folders unless another input has the same name."""

    location: Path
    display_name: str

    @property
    def path(self) -> str:
        """The full path, for messages about missing files and permissions."""
        return str(self.location)

    def open(self) -> pa.NativeFile:
        """A seekable stream of all bytes."""
        # Not memory-mapped: if a mapped file is truncated by another process, reading it kills this one.
        return pa.OSFile(str(self.location))

    def fingerprint(self) -> str:
        """Name, size and time of the last change; OSError if the file is gone."""
        found = self.location.stat()
        return f"{self.location.name} {found.st_size} {found.st_mtime_ns}"

    def ready(self) -> bool:
        """True: reading a file never waits for another program, as reading a pipe may."""
        return True


Input: TypeAlias = DiskFile | Spool
"""Bytes that can be read more than once."""


@contextlib.contextmanager
def refusing_damage(message: Callable[[str], str]) -> Iterator[None]:
    """Turns an error that pyarrow raises for damaged bytes into a DataError.

    message(reason): builds the new message from pyarrow's. Errors of the operating system are not changed.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, DataError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise DataError(message(one_line(str(error)))) from None


@contextlib.contextmanager
def cannot_be_read(source: Input) -> Iterator[None]:
    """Turns an OSError raised inside into a DataError of one line."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else one_line(str(error))
        raise DataError(f"{source.path} cannot be read: {reason}") from None


def compression_of(source: Input) -> str | None:
    """The compression that the first bytes show: gzip, zstd or None."""
    with cannot_be_read(source), source.open() as stream:
        start = stream.read(4)
    return next((name for magic, name in _COMPRESSION_MAGIC.items() if start.startswith(magic)), None)


@dataclass(frozen=True, slots=True)
class Text:
    """An input that holds text, compressed by `compression` (gzip or zstd) or not (None)."""

    input: Input
    compression: str | None = None

    @property
    def display_name(self) -> str:
        return self.input.display_name

    @contextlib.contextmanager
    def open(self) -> Iterator[pa.NativeFile]:
        """A stream of the decompressed bytes; DataError where the compressed data are damaged or incomplete."""
        with cannot_be_read(self.input), self.input.open() as stream:
            if self.compression is None:
                yield stream
                return
            try:
                yield pa.CompressedInputStream(stream, self.compression)
            except OSError as error:
                if error.errno is not None:
                    raise
                raise DataError(
                    f"{self.display_name} is not a whole {self.compression} file; compress it or fetch it again"
                ) from None

    def lines(self, errors: str = "surrogateescape") -> Generator[str, None, None]:
        """The lines, each with its line end. errors: how to decode bytes that are not UTF-8, as in Python's `open`."""
        with self.open() as stream:
            yield from io.TextIOWrapper(cast(IO[bytes], stream), encoding="utf-8-sig", errors=errors, newline="")


def last_line_end(text: bytes) -> int:
    """The index after the end of the last complete line; 0 if no line is complete."""
    return text.rfind(b"\n") + 1


@dataclass(frozen=True, slots=True)
class Records:
    """Bytes of consecutive records.

    incomplete: these are the bytes after the last complete record of the file: a record without a line end, or a part
    of a record.
    """

    text: bytes
    incomplete: bool = False


def records(text: Text, last_end: Callable[[bytes], int], read_bytes: int) -> Iterator[Records]:
    """The text, without a byte order mark, in parts of about `read_bytes` bytes that hold complete records.

    last_end(bytes): the index after the last complete record in `bytes`; 0 if no record is complete. If a record is
    longer than MAX_RECORD_BYTES, its beginning is returned as incomplete, and nothing after it is read.
    """
    with text.open() as stream:
        start = stream.read(len(BYTE_ORDER_MARK))
        buffer = b"" if start == BYTE_ORDER_MARK else start
        while more := stream.read(max(read_bytes, len(buffer))):
            buffer += more
            end = last_end(buffer)
            if end:
                yield Records(buffer[:end])
                buffer = buffer[end:]
            elif len(buffer) > MAX_RECORD_BYTES:
                break
    if end := last_end(buffer):
        yield Records(buffer[:end])
    if end < len(buffer):
        yield Records(buffer[end:], incomplete=True)
