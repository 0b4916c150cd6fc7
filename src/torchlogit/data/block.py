"""Blocks of rows. Each knows the files that its rows came from, so that an error can name the file and the row.

Readers return any number of rows at a time; learners and encoders work on blocks of a fixed size. Since sums are taken
block by block, in order, the same rows give the same bits for any reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.errors import DataError

# Rows per block. Larger blocks take more memory; smaller ones spend more of the time in Python. The last bits of
# results depend on this number, since sums are taken block by block.
BLOCK_ROWS = 65_536


class Location(NamedTuple):
    """A row of a file, or of a table in memory if `file` is None. Rows are counted from 0."""

    file: str | None
    row: int


Locate: TypeAlias = Callable[[int], Location]
"""Maps a row of a table to the file and the row that it came from."""


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of one file, or of a table in memory if `file` is None. rows: their indices there, from 0."""

    file: str | None
    rows: range | NDArray[np.int64]

    def where(self, mask: NDArray[np.bool_]) -> FileRows:
        """The rows at which the mask is True."""
        kept = self.rows.start + np.flatnonzero(mask) if isinstance(self.rows, range) else self.rows[mask]
        return FileRows(self.file, kept)


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows of a source.

    Parameters
    ----------
    table
        The rows.
    origin
        The files and the row indices that the rows came from, in order.
    first
        Index of the first row among all rows of the source; `where` does not change it.
    last
        Whether this is the last block of the source.
    """

    table: pa.Table
    origin: tuple[FileRows, ...]
    first: int = 0
    last: bool = False

    def __len__(self) -> int:
        n_rows: int = self.table.num_rows
        return n_rows

    def location(self, row: int) -> Location:
        """The file that a row of the block came from, and the row's index in that file."""
        index = row
        for part in self.origin:
            if 0 <= index < len(part.rows):
                return Location(part.file, int(part.rows[index]))
            index -= len(part.rows)
        raise IndexError(f"row {row} of a block of {len(self)} rows")

    @contextmanager
    def locating_errors(self) -> Iterator[None]:
        """Adds file and row number to a DataError raised inside, if the error is about one row of the block."""
        try:
            yield
        except DataError as error:
            if error.row is None:
                raise
            raise error.at(*self.location(error.row)) from None

    def select(self, names: Sequence[str]) -> Block:
        """The same rows with the columns of these names."""
        return replace(self, table=self.table.select(names))

    def where(self, mask: NDArray[np.bool_]) -> Block:
        """The rows at which the mask is True."""
        if mask.all():
            return self
        origin, start = [], 0
        for part in self.origin:
            origin.append(part.where(mask[start : start + len(part.rows)]))
            start += len(part.rows)
        return replace(self, table=self.table.filter(pa.array(mask)), origin=tuple(origin))

    def between(self, start: int, stop: int) -> Block:
        """The rows with indices from `start` to `stop` - 1."""
        origin, before = [], 0
        for part in self.origin:
            rows = part.rows[max(0, start - before) : max(0, stop - before)]
            if len(rows):
                origin.append(FileRows(part.file, rows))
            before += len(part.rows)
        is_last = self.last and stop >= len(self)
        return Block(self.table.slice(start, stop - start), tuple(origin), self.first + start, is_last)


def as_block(table: pa.Table) -> Block:
    """A table in memory as one block."""
    return Block(table, (FileRows(None, range(table.num_rows)),), last=True)


def joined(blocks: Sequence[Block], first: int = 0, *, last: bool = True) -> Block:
    """Consecutive blocks as one block. Columns are not copied, so that a column may have several Arrow chunks."""
    filled = [block for block in blocks if len(block)] or blocks[:1]
    tables = [block.table for block in filled]
    table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
    return Block(table, tuple(part for block in filled for part in block.origin), first, last)


def recut(blocks: Iterable[Block], rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """The same rows in blocks of `rows` rows; the last may have fewer. Each column of a block is one Arrow chunk.

    >>> small = [as_block(pa.table({"x": [1, 2, 3]})), as_block(pa.table({"x": [4]})), as_block(pa.table({"x": [5]}))]
    >>> [(block.first, block.last, block.table.column("x").to_pylist()) for block in recut(small, 2)]
    [(0, False, [1, 2]), (2, False, [3, 4]), (4, True, [5])]
    """
    waiting: list[Block] = []
    n_waiting, first = 0, 0
    for block in blocks:
        start = 0
        while n_waiting + len(block) - start > rows:  # not >=: a full block with no row after it is the last
            stop = start + rows - n_waiting
            yield _in_one_chunk(joined([*waiting, block.between(start, stop)], first, last=False))
            waiting, n_waiting, start, first = [], 0, stop, first + rows
        if start < len(block):
            waiting.append(block.between(start, len(block)))
            n_waiting += len(block) - start
    if waiting:
        yield _in_one_chunk(joined(waiting, first))


def _in_one_chunk(block: Block) -> Block:
    return replace(block, table=block.table.combine_chunks())
