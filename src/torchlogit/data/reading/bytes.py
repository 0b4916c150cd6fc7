"""The bytes of a source: files on disk, and text that may be compressed, cut where its records end."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

import pyarrow as pa

from torchlogit.data.wording import one_line
from torchlogit.errors import DataError

LONGEST_RECORD = 256 << 20
MARK = b"\xef\xbb\xbf"  # says UTF-8 at the start of a file
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


class Input(Protocol):
    """Bytes that can be read more than once."""

    @property
    def display_name(self) -> str:
        """What messages call it."""
        ...

    @property
    def path(self) -> str:
        """Where it is, for messages about the way to it."""
        ...

    def open(self) -> pa.NativeFile:
        """The bytes from the first one on, with a way to seek."""
        ...

    def state(self) -> str:
        """Changes when the bytes have changed; raises OSError where they are gone."""
        ...

    def ready(self) -> bool:
        """Whether more bytes are there now, or none will come."""
        ...


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A file that can be read at any place."""

    location: Path
    display_name: str

    @property
    def path(self) -> str:
        """As it was given."""
        return str(self.location)

    def open(self) -> pa.NativeFile:
        """Not mapped into memory: a file that is cut short while it is mapped ends the process."""
        return pa.OSFile(str(self.location))

    def state(self) -> str:
        """Name, size and time of the last change."""
        found = self.location.stat()
        return f"{self.location.name} {found.st_size} {found.st_mtime_ns}"

    def ready(self) -> bool:
        """Always."""
        return True


@contextlib.contextmanager
def cannot_be_read(source: Input) -> Iterator[None]:
    """The system's refusals, as one line."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else one_line(str(error))
        raise DataError(f"{source.path} cannot be read: {reason}") from None


def packed_by(source: Input) -> str | None:
    """The compression that the first bytes tell of: gzip, zstd or None."""
    with cannot_be_read(source), source.open() as stream:
        start = stream.read(4)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of text in an input, compressed by `compression` (gzip or zstd) or not (None)."""

    input: Input
    compression: str | None = None

    @property
    def display_name(self) -> str:
        """What messages call it."""
        return self.input.display_name

    @contextlib.contextmanager
    def open(self) -> Iterator[pa.NativeFile]:
        """The bytes, unpacked; DataError where they end early or are damaged."""
        with cannot_be_read(self.input), self.input.open() as packed:
            if self.compression is None:
                yield packed
                return
            try:
                yield pa.CompressedInputStream(packed, self.compression)
            except OSError as error:
                if error.errno is not None:
                    raise
                raise DataError(
                    f"{self.display_name} is not a whole {self.compression} file; compress it or fetch it again"
                ) from None

    def lines(self, encoding: str = "utf-8-sig", errors: str = "surrogateescape") -> Generator[str, None, None]:
        """The lines, each with its end."""
        with self.open() as stream:
            yield from io.TextIOWrapper(cast(IO[bytes], stream), encoding=encoding, errors=errors, newline="")


Cut = Callable[[bytes], int]


def last_line_end(text: bytes) -> int:
    """Where the last whole line ends, 0 where there is none."""
    return text.rfind(b"\n") + 1


@dataclass(frozen=True, slots=True)
class Piece:
    """Some whole records; `is_rest`: what is left at the end of the file, which need not be whole."""

    text: bytes
    is_rest: bool = False


def records(text: Text, cut: Cut, piece_bytes: int) -> Iterator[Piece]:
    """The text in pieces of about so many bytes, cut where `cut` says that the last record in a piece ends.

    The mark that says UTF-8 is left out.
    A record longer than LONGEST_RECORD comes as the rest, and nothing after it.
    """
    with text.open() as stream:
        start = stream.read(len(MARK))
        held = b"" if start == MARK else start
        while more := stream.read(max(piece_bytes, len(held))):
            held += more
            end = cut(held)
            if end:
                yield Piece(held[:end])
                held = held[end:]
            elif len(held) > LONGEST_RECORD:
                break
    if end := cut(held):
        yield Piece(held[:end])
    if end < len(held):
        yield Piece(held[end:], is_rest=True)
