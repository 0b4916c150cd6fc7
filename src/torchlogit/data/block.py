"""Rows in pieces of a fixed size, whatever blocks they were read in; each piece knows where its rows came from.

Sums are taken over pieces, in their order: the same rows give the same bits, however a reader cut them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.encoding.learned import Place
from torchlogit.data.reading.source import Block
from torchlogit.errors import DataError

PIECE = 65_536  # rows


_Indices: TypeAlias = range | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of one file, by their indices in it."""

    file: str | None
    rows: _Indices


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of a stream: the `table`, where its rows came from, the index in the stream of the first of
    them, and whether they are the last."""

    table: pa.Table
    runs: tuple[Run, ...]
    first: int = 0
    last: bool = False

    def __len__(self) -> int:
        n_rows: int = self.table.num_rows
        return n_rows

    def place(self, row: int) -> Place:
        """Where a row of the piece came from."""
        for run in self.runs:
            if row < len(run.rows):
                return Place(run.file, int(run.rows[row]))
            row -= len(run.rows)
        raise IndexError(f"there is no row {row} after the last of the piece")

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Errors raised inside that name a row of the piece say where it came from."""
        try:
            yield
        except DataError as error:
            if error.row is None:
                raise
            raise self.place(error.row).blamed(error) from None

    def select(self, names: Sequence[str]) -> Piece:
        """The rows' columns of these names."""
        return replace(self, table=self.table.select(names))

    def where(self, kept: NDArray[np.bool_]) -> Piece:
        """The rows that are kept."""
        if kept.all():
            return self
        ends = np.cumsum([len(run.rows) for run in self.runs])
        runs = [
            Run(run.file, np.asarray(run.rows)[kept[end - len(run.rows) : end]])
            for run, end in zip(self.runs, ends, strict=True)
        ]
        return Piece(self.table.filter(pa.array(kept)), tuple(runs), self.first, self.last)

    def between(self, start: int, stop: int) -> Piece:
        """Some of the rows."""
        runs, before = [], 0
        for run in self.runs:
            rows = run.rows[max(0, start - before) : max(0, stop - before)]
            runs += [Run(run.file, rows)] if len(rows) else []
            before += len(run.rows)
        return Piece(self.table.slice(start, stop - start), tuple(runs), self.first + start)


def piece_of(block: Block) -> Piece:
    """A block as a piece."""
    return Piece(block.table, (Run(block.file, range(block.first_row, block.first_row + block.table.num_rows)),))


def whole(table: pa.Table) -> Piece:
    """A table in memory as one piece."""
    return Piece(table, (Run(None, range(table.num_rows)),), last=True)


def rechunked(pieces: Iterable[Piece], rows: int | None = None) -> Iterator[Piece]:
    """The same rows in pieces of so many (PIECE, where it is None), the last one excepted.

    >>> cut = [whole(pa.table({"x": [1, 2, 3]})), whole(pa.table({"x": [4]})), whole(pa.table({"x": [5]}))]
    >>> [(piece.first, piece.last, piece.table.column("x").to_pylist()) for piece in rechunked(cut, 2)]
    [(0, False, [1, 2]), (2, False, [3, 4]), (4, True, [5])]
    """
    rows = PIECE if rows is None else rows
    held: list[Piece] = []
    n_held, done = 0, 0
    for piece in pieces:
        start = 0
        while n_held + len(piece) - start > rows:  # a full piece waits for a row more: it may be the last
            stop = start + rows - n_held
            yield _joined([*held, piece.between(start, stop)], done, last=False)
            held, n_held, start, done = [], 0, stop, done + rows
        if start < len(piece):
            held.append(piece.between(start, len(piece)))
            n_held += len(piece) - start
    if held:
        yield _joined(held, done, last=True)


def _joined(pieces: Sequence[Piece], first: int, *, last: bool) -> Piece:
    parts = [piece for piece in pieces if len(piece)]
    tables = [part.table for part in parts]
    table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
    runs: list[Run] = []
    for run in (run for part in parts for run in part.runs):
        joined = _follows(runs[-1], run) if runs else None
        runs[-1:] = [joined] if joined is not None else [*runs[-1:], run]
    return Piece(table.combine_chunks(), tuple(runs), first, last)


def _follows(run: Run, other: Run) -> Run | None:
    """Both as one, where the other goes on in the same file."""
    if not (run.file == other.file and isinstance(run.rows, range) and isinstance(other.rows, range)):
        return None
    return Run(run.file, range(run.rows.start, other.rows.stop)) if run.rows.stop == other.rows.start else None
