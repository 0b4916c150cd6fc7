"""What the commands that read tables share: options, and errors that name the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from torchlogit.data.source import Block, Cursor, Source
    from torchlogit.data.tables import LoadedTable, Origin

F = TypeVar("F", bound=Callable[..., None])

BLOCK_ROWS = 65_536

DATA = click.argument("data", nargs=-1, required=True, metavar="DATA...")
MODEL = click.argument("model", metavar="MODEL")


def header_options(command: F) -> F:
    """--no-header and --names, for files that do not name their columns."""
    no_header = click.option("--no-header", is_flag=True, help="The files have no header line.")
    names = click.option("--names", metavar="A,B,...", help="The columns' names, in place of the header's.")
    return no_header(names(command))


def read(data: Sequence[str], no_header: bool, names: str | None) -> LoadedTable:
    """The table in these files."""
    from torchlogit.data.tables import read_table

    return read_table(data, names=split(names) or None, has_header=not no_header)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A table in memory as a Source, its blocks of BLOCK_ROWS rows."""

    loaded: LoadedTable
    target: str | None

    @property
    def files(self) -> str:
        return self.loaded.origin.files

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self.loaded.table.column_names)

    @property
    def notices(self) -> tuple[str, ...]:
        return self.loaded.notices

    def fingerprint(self) -> str:
        raise NotImplementedError("nothing here asks whether a table has changed")

    def blocks(self, start: Cursor | None = None, columns: Sequence[str] | None = None) -> Iterator[Block]:
        from torchlogit.data.source import START, Block, Cursor

        table = self.loaded.table if columns is None else self.loaded.table.select(list(columns))
        first, start = 0, start or START
        for file, (name, rows) in enumerate(zip(self.loaded.origin.names, self.loaded.origin.rows, strict=True)):
            for row in range(start.row if file == start.file else 0, rows if file >= start.file else 0, BLOCK_ROWS):
                size = min(BLOCK_ROWS, rows - row)
                yield Block(table.slice(first + row, size), name, row, Cursor(file, row + size))
            first += rows


def source(data: Sequence[str], no_header: bool, names: str | None) -> Source:
    """The rows of these files, in blocks."""
    from torchlogit.data.tables import own_target

    return _Loaded(read(data, no_header, names), own_target(data))


def split(names: str | None) -> list[str]:
    """The names in a comma-separated list.

    >>> split("age, job")
    ['age', 'job']
    """
    return [name.strip() for name in names.split(",") if name.strip()] if names else []


def refuse_overwriting(output: Path, inputs: Sequence[str]) -> None:
    """Refuses to write over a file that is read, by whatever name."""
    if any(output.exists() and os.path.exists(given) and output.samefile(given) for given in inputs):
        raise click.UsageError(f"{output} is among the files to read; write elsewhere with -o.")


@contextmanager
def located(origin: Origin, kept: NDArray[np.int64] | None = None) -> Iterator[None]:
    """Errors about a table raised inside say which file, and which of its rows.

    `kept`: the indices of the rows that the table kept of those its origin knows; all, where it is left out.
    """
    from torchlogit.errors import DataError

    try:
        yield
    except DataError as error:
        if error.row is None:
            raise error.located(origin.files) from None
        raise error.located(origin.place(error.row if kept is None else int(kept[error.row]))) from None
