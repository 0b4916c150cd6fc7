"""What the commands that read tables share: options, and errors that name the file."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from torchlogit.data.reading.source import Source
    from torchlogit.data.reading.tables import LoadedTable, Origin

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
    from torchlogit.data.reading.tables import read_table

    return read_table(data, names=split(names) or None, has_header=not no_header)


def source(data: Sequence[str], no_header: bool, names: str | None) -> Source:
    """The rows of these files, in blocks."""
    from torchlogit.data.reading.file_source import open_source

    return open_source(data, names=split(names) or None, has_header=not no_header)


def split(names: str | None) -> list[str]:
    """The names in a comma-separated list.

    >>> split("age, job")
    ['age', 'job']
    """
    return [name.strip() for name in names.split(",") if name.strip()] if names else []


def refuse_overwriting(output: Path, inputs: Sequence[str]) -> None:
    """Refuses to write over a file that is read, by whatever name, glob or folder."""
    if output.exists() and any(output.samefile(path) for given in inputs for path in _files(given)):
        raise click.UsageError(f"{output} is among the files to read; write elsewhere with -o.")


def _files(given: str) -> list[Path]:
    """The files that exist under a name, a folder's name or a glob."""
    path = Path(given)
    if path.is_dir():
        return [child for child in path.iterdir() if child.exists()]
    return [path] if path.exists() else [Path(match) for match in glob.glob(given, recursive=True)]


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
