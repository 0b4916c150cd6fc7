"""A source for tests: a table, cut into files and blocks; and what is learned from it, to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from torchlogit.data.block import BLOCK_ROWS, Block, FileRows, recut
from torchlogit.data.encoding.column_kind import LIMITS, LearningLimits
from torchlogit.data.encoding.learn_encoder import EncoderOptions
from torchlogit.data.encoding.schema import schema_to_json
from torchlogit.data.learn_table import LearnedTable, learn_table
from torchlogit.data.plan import Plan


@dataclass
class Cut:
    """A source: a table cut into files, each read by so many rows at a time; remembers the columns of each reading."""

    table: pa.Table
    cuts: Sequence[int]  # rows of the first files; what is left is one more
    rows: int
    files: str = "a.csv, ..."
    target: str | None = None
    warnings: tuple[str, ...] = ()
    readings: list[Sequence[str]] = field(default_factory=list)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    def fingerprint(self) -> str:
        return "the same"

    def blocks(self, columns: Sequence[str] | None = None, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        return recut(self.as_read(columns), rows)

    def as_read(self, columns: Sequence[str] | None = None) -> Iterator[Block]:
        names = self.table.column_names if columns is None else columns
        self.readings.append(list(names))
        at = 0
        for index, n in enumerate([*self.cuts, self.table.num_rows]):
            part = self.table.select(names).slice(at, n)
            for row in range(0, part.num_rows, self.rows):
                block = part.slice(row, self.rows)
                yield Block(block, (FileRows(f"{'abcdefgh'[index]}.csv", range(row, row + block.num_rows)),))
            at += part.num_rows


def bits(found: LearnedTable) -> str:
    """All that was learned, to the bit."""
    totals = found.classes
    learned = [schema_to_json(found.encoder.schema), found.warnings]
    return json.dumps([*learned, totals.classes, totals.counts.tolist(), [w.hex() for w in totals.weight.tolist()]])


def beside(values: Sequence[object], kind: pa.DataType | None = None) -> pa.Table:
    n = len(values)
    return pa.table({"x": pa.array(values, kind), "more": [i % 3 for i in range(n)], "y": [i % 2 for i in range(n)]})


def of(
    table: pa.Table,
    rows: int = 5,
    cuts: Sequence[int] = (21,),
    limits: LearningLimits = LIMITS,
    block_rows: int = 16,
    **options: Any,
) -> LearnedTable:
    return learn_table(Cut(table, cuts, rows), EncoderOptions(**options), Plan("y"), limits, block_rows)
