"""The three parts of every column kind: a record of what was learned about a column, a learner and an encoder.

Each kind has its own file: numeric.py, categorical.py, hashing.py, text.py, vectors.py; kinds.py lists them. A record
is a frozen dataclass of text, numbers, booleans and tuples, which schema.py writes and reads as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

import pyarrow as pa

from torchlogit.data.block import Locate
from torchlogit.data.encoding.features import EncodedColumn
from torchlogit.data.encoding.row_warnings import RowWarnings
from torchlogit.data.wording import excerpt

Positive: TypeAlias = float
"""A float greater than 0. schema.py refuses any other value of a field of this type."""


class ColumnKind(StrEnum):
    """The kinds of columns, as they are called in schemas and reports."""

    NUMERIC = "numeric"
    BOOLEAN = "boolean"
    CATEGORICAL = "categorical"
    HASHED = "hashed"
    TEXT = "text"
    HASHED_TEXT = "hashed text"
    VECTOR = "vector"


class Column(Protocol):
    """The record of what was learned about a column of any kind.

    feature_names: names of its n_features features: COLUMN for a number, COLUMN=LEVEL for a level or word, COLUMN=NA
    for missing values; no two columns may have a feature of the same name. filled: the mean number of the column's
    features that are not zero in a row.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> ColumnKind: ...
    @property
    def n_features(self) -> int: ...
    @property
    def feature_names(self) -> list[str]: ...
    @property
    def filled(self) -> float: ...


@runtime_checkable
class HasUnits(Protocol):
    """A column whose encoder scales or shifts its values, rather than encoding presence as 1 and absence as 0.

    units: how much each feature changes per unit of the column. zero: each feature's value when the column is 0. They
    convert coefficients to the column's own units; a record without them is taken to have units 1 and zero 0.
    """

    @property
    def units(self) -> list[float]: ...
    @property
    def zero(self) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column that is left out. reason: why, in one phrase."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConstantColumn:
    """A column in which every value that is not missing is the same."""

    name: str
    value: str
    has_missing: bool


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned of a column, and warnings, one sentence each."""

    column: Column | DroppedColumn | ConstantColumn
    warnings: tuple[str, ...] = ()


class ColumnLearner(Protocol):
    """Learns about a column from its chunks, in order."""

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        """Learns from one more chunk. locate(row): the file and the row that a row of the chunk came from."""

    def result(self) -> Learned:
        """The column's record and warnings; DataError for a column that cannot be used."""


class ColumnEncoder(Protocol):
    """Encodes a column according to its record."""

    def encode(self, values: pa.ChunkedArray) -> tuple[list[EncodedColumn], RowWarnings]:
        """The features of these rows, and warnings about values that did not occur in training.

        The Arrow type may differ from that in training: CSV columns are always text. Raises DataError for a type or a
        value that cannot be converted.
        """


@dataclass(frozen=True, slots=True)
class LearningLimits:
    """How much a learner may hold in memory for one column. Larger numbers take more memory.

    max_levels: the most levels of a column that is not hashed; with more it is refused. max_sampled_levels: the number
    of levels of a hashed column that are kept, to recognise dates and ids; further levels are only counted. max_words:
    the most distinct words of a text column that is not hashed; with more it is refused. max_exact_hashes: up to this
    number, the levels of a hashed column are counted exactly. n_kept_hashes: beyond it, their number is estimated from
    this many hashes, with relative standard error 1 / sqrt(n_kept_hashes).
    """

    max_levels: int = 1_000_000
    max_sampled_levels: int = 1 << 16
    max_words: int = 1 << 22
    max_exact_hashes: int = 1 << 20
    n_kept_hashes: int = 1 << 14


LIMITS = LearningLimits()

MIN_DISTINCT = 20
"""A column of fewer rows than this is never taken for an id, even if all its values differ."""


def without_values(name: str) -> Learned:
    """The record and the warning for a column in which every value is missing."""
    return Learned(DroppedColumn(name, "no values"), (f"column {name!r} has no values and is left out",))


def cell(column: pa.ChunkedArray, row: int) -> str:
    """A value of a column, formatted for a message."""
    value = column[row].as_py()
    return excerpt(value.strip() if isinstance(value, str) else value)
