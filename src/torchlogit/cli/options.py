"""Options that all commands which read tables share."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from torchlogit.data.reading.source import Source

F = TypeVar("F", bound=Callable[..., None])

DATA = click.argument("data", nargs=-1, required=True, metavar="DATA...")
MODEL = click.argument("model", metavar="MODEL")


def header_options(command: F) -> F:
    """Adds --no-header and --names, for files that do not name their columns."""
    no_header = click.option("--no-header", is_flag=True, help="The files have no header line.")
    names = click.option("--names", metavar="A,B,...", help="The columns' names, in place of the header's.")
    return no_header(names(command))


def source(data: Sequence[str], no_header: bool, names: str | None) -> Source:
    """The rows of these files, in blocks."""
    from torchlogit.data.reading.source import open_source

    return open_source(data, names=split(names) or None, has_header=not no_header)


def split(names: str | None) -> list[str]:
    """The names in a comma-separated list.

    >>> split("age, job")
    ['age', 'job']
    """
    return [name.strip() for name in names.split(",") if name.strip()] if names else []


def refuse_overwriting(output: Path, inputs: Sequence[str]) -> None:
    """Raises UsageError if the output is one of the input files, which may be given by name, glob or folder."""
    if output.exists() and any(output.samefile(path) for given in inputs for path in _files(given)):
        raise click.UsageError(f"{output} is among the files to read; write elsewhere with -o.")


def _files(given: str) -> list[Path]:
    """The existing files that a name, a folder or a glob stands for."""
    path = Path(given)
    if path.is_dir():
        return [child for child in path.iterdir() if child.exists()]
    return [path] if path.exists() else [Path(match) for match in glob.glob(given, recursive=True)]
