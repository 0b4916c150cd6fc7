"""Where rows come from, in blocks: files, folders, standard input, queries; each block knows how to go on after it.

A source is read more than once (to learn, to encode, to train without a cache), each time the same rows in the same
order. How large its blocks are is the reader's affair: nothing that is computed from them depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from torchlogit.data.reading.origin import Origin


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows: so many `rows` of the file with index `file` have been read."""

    file: int = 0
    row: int = 0


START = Cursor()


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive rows, all of one file: the `table`, the file's name as messages show it, the index in the file of
    the first of the rows, and the cursor that resumes after them."""

    table: pa.Table
    file: str
    first_row: int
    cursor: Cursor

    @property
    def origin(self) -> Origin:
        """Where the block's rows came from, for messages."""
        return Origin((self.file,), (self.table.num_rows,), self.first_row)


class Source(Protocol):
    """Rows that can be read again."""

    @property
    def files(self) -> str:
        """What is read, as messages show it: the first three names, where there are more."""
        ...

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns of every block."""
        ...

    @property
    def target(self) -> str | None:
        """The target column that the format has of its own: the label of svmlight files."""
        ...

    @property
    def notices(self) -> tuple[str, ...]:
        """What deserves a look, one sentence each, as far as it has been read."""
        ...

    def fingerprint(self) -> str:
        """Changes when what would be read has changed: of files, from their names, sizes and times."""
        ...

    def blocks(self, start: Cursor = START, columns: Sequence[str] | None = None) -> Iterator[Block]:
        """The rows from the cursor on, in order; `columns`: these alone, in this order."""
        ...
