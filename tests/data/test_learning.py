"""What is learned from a stream of rows does not depend on how it was cut, and is what a table in memory gives."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse

from torchlogit.data import categorical, distinct, ids, learners, learning, pieces
from torchlogit.data import encoder as encoding
from torchlogit.data.encoder import TableEncoder
from torchlogit.data.learning import LearnedTable, drawn, learn_table
from torchlogit.data.pieces import rechunked, whole
from torchlogit.data.remarks import added, sentences
from torchlogit.data.schema import schema_to_json
from torchlogit.data.source import START, Block, Cursor
from torchlogit.data.vectors import as_vectors
from torchlogit.errors import DataError
from torchlogit.records import HashedColumn, NumericColumn


@dataclass
class Cut:
    """A source: a table cut into files, each read in blocks of so many rows; keeps the columns of each reading."""

    table: pa.Table
    files: Sequence[int]  # rows each; what is left is one more
    rows: int
    target: str | None = None
    notices: tuple[str, ...] = ()
    readings: list[Sequence[str]] = field(default_factory=list)

    files_: str = "a.csv, b.csv"

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    def fingerprint(self) -> str:
        return "the same"

    def blocks(self, start: Cursor = START, columns: Sequence[str] | None = None) -> Iterator[Block]:
        assert start == START
        names = self.table.column_names if columns is None else columns
        self.readings.append(list(names))
        at = 0
        for index, n in enumerate([*self.files, self.table.num_rows]):
            part = self.table.select(names).slice(at, n)
            for row in range(0, part.num_rows, self.rows):
                block = part.slice(row, self.rows)
                yield Block(block, f"{'abcdefgh'[index]}.csv", row, Cursor(index, row + block.num_rows))
            at += part.num_rows


def bits(found: LearnedTable) -> str:
    """All that was learned, to the bit."""
    totals = found.classes
    learned = [schema_to_json(found.encoder.schema_), found.notices, found.rows, found.kept]
    return json.dumps([*learned, totals.classes, totals.counts.tolist(), [w.hex() for w in totals.weight.tolist()]])


def same(first: Any, second: Any) -> bool:
    """Whether two matrices are the same, to the bit, explicit zeros included."""
    if not issparse(first):
        return bool(first.tobytes() == second.tobytes() and first.shape == second.shape)
    parts = [(matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tobytes()) for matrix in (first, second)]
    return parts[0] == parts[1]
