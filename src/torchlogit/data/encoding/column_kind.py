"""What all kinds of columns have in common: the record of what was learned of a column, its learner and its encoder.

Each kind has a file of its own with these three: numeric.py, categorical.py, hashing.py, text.py, vectors.py. kinds.py
lists them. A record is a frozen dataclass of text, numbers, booleans and tuples; schema.py reads and writes it as JSON.
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
"""A float above 0: no other is read from JSON."""


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
    """What was learned of a column of any kind.

    feature_names: names of its n_features features: the column's own name for its number, COLUMN=LEVEL for a level or
    word, COLUMN=NA for missing values; none may be the name of another column's feature. filled: how many of them are
    not zero in a row, on average.
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
    """A column whose features are not just 0 where nothing is present, and 1 where something is.

    A record whose encoder scales or shifts needs both: without them, coefficients are shown in the wrong units.

    units: by how much one unit of the column changes each feature. zero: each feature where the column is 0.
    """

    @property
    def units(self) -> list[float]: ...
    @property
    def zero(self) -> list[float]: ...


@dataclass(frozen=True, slots=True)
class DroppedColumn:
    """A column that has no features, and why, in one phrase."""

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
    """Learns what a column holds from chunks of it, in order."""

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        """Takes in a chunk; locate(row): the file and row that a row of it came from."""

    def result(self) -> Learned:
        """What was learned; DataError for a column that cannot be used."""


class ColumnEncoder(Protocol):
    """Encodes a column as its record says."""

    def encode(self, values: pa.ChunkedArray) -> tuple[list[EncodedColumn], RowWarnings]:
        """The features of these rows, and warnings of what training had not.

        The Arrow type need not be that of training: columns of CSV files are text. DataError for a type or a value that
        cannot be read as the column.
        """


@dataclass(frozen=True, slots=True)
class LearningLimits:
    """How much a learner keeps in memory of one column.

    max_levels: distinct texts of a column that is not hashed; more are refused. max_sampled_levels: distinct texts of a
    hashed column, by which dates and ids are recognised; further texts are only counted. max_words: distinct words of a
    text column that is not hashed; more are refused. max_exact_hashes: distinct texts are counted exactly up to so
    many. n_kept_hashes: beyond that their number is estimated from so many hashes, with relative standard error
    1 / sqrt(n_kept_hashes).
    """

    max_levels: int = 1_000_000
    max_sampled_levels: int = 1 << 16
    max_words: int = 1 << 22
    max_exact_hashes: int = 1 << 20
    n_kept_hashes: int = 1 << 14


LIMITS = LearningLimits()

MIN_DISTINCT = 20
"""Up to so many rows, values that all differ are taken for categories or numbers; beyond it, they may be an id."""


def without_values(name: str) -> Learned:
    """What is learned of a column in which every value is missing."""
    return Learned(DroppedColumn(name, "no values"), (f"column {name!r} has no values and is left out",))


def cell(column: pa.ChunkedArray, row: int) -> str:
    """A value of a column as a message shows it."""
    value = column[row].as_py()
    return excerpt(value.strip() if isinstance(value, str) else value)
