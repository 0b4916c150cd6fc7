"""Columns of numbers, encoded as (x - mean) / scale, and of booleans, as 1 and 0; with indicators of missing values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.block import Locate
from torchlogit.data.columns import Floats, as_levels, as_numbers, first_not_number
from torchlogit.data.encoding.column_kind import (
    MIN_DISTINCT,
    ColumnKind,
    ConstantColumn,
    Learned,
    Positive,
    cell,
    without_values,
)
from torchlogit.data.encoding.features import EncodedColumn, OneHotColumn
from torchlogit.data.encoding.ids import DistinctNumbers
from torchlogit.data.encoding.moments import Moments, moments
from torchlogit.data.encoding.row_warnings import MissingValues, RowWarnings
from torchlogit.data.wording import option
from torchlogit.errors import DataError

LARGEST = 1e38  # numbers of a larger absolute value are refused; float32 holds up to 3.4e38
BOOLEANS = {"true": 1.0, "false": 0.0}  # the texts of booleans, in lower case


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """A column of numbers: encoded as (x - mean) / scale; a missing value becomes the mean.

    kind: NUMERIC or BOOLEAN. For booleans mean is 0 and scale is 1, so that true and false are encoded as 1 and 0, and
    a missing value becomes `fill`, the share of true. has_missing: whether a second feature indicates missing values.
    """

    name: str
    kind: ColumnKind
    mean: float
    scale: Positive
    fill: float
    has_missing: bool

    @property
    def n_features(self) -> int:
        return 1 + self.has_missing

    @property
    def feature_names(self) -> list[str]:
        return [self.name, f"{self.name}=NA"] if self.has_missing else [self.name]

    @property
    def units(self) -> list[float]:
        return [1 / self.scale] + [1.0] * self.has_missing

    @property
    def zero(self) -> list[float]:
        return [-self.mean / self.scale] + [0.0] * self.has_missing

    @property
    def filled(self) -> float:
        return self.fill if self.kind is ColumnKind.BOOLEAN else 1.0


def boolean_column(name: str, share_of_true: float, has_missing: bool) -> NumericColumn:
    """The record of a column of booleans that holds both true and false."""
    fill = float(share_of_true)
    return NumericColumn(name, ColumnKind.BOOLEAN, mean=0.0, scale=1.0, fill=fill, has_missing=has_missing)


def as_given(column: NumericColumn) -> NumericColumn:
    """The record of the same column, encoded without a change; a missing value still becomes the mean."""
    return replace(column, mean=0.0, scale=1.0)


class NumericLearner:
    """Learns the mean and scale of numbers; of booleans, the share of true.

    may_be_text: whether the column is of text, so that later values may show that it is categorical. A number that is
    too large is then refused only at the end, by `result`.
    """

    def __init__(self, name: str, *, are_booleans: bool, may_be_text: bool) -> None:
        self._name = name
        self._are_booleans = are_booleans
        self._may_be_text = may_be_text
        self._moments: Moments | None = None
        self._n_true = 0.0
        self._ids = DistinctNumbers()
        self._fault: DataError | None = None
        self.n_missing = 0

    @property
    def is_empty(self) -> bool:
        """Whether all values so far are missing."""
        return self._moments is None and self._fault is None

    def update(self, numbers: Floats, column: pa.ChunkedArray, locate: Locate) -> None:
        """Learns from one more chunk. numbers: its values, NaN if missing. column: the same chunk as it was read."""
        missing = np.isnan(numbers)
        n_missing = int(np.count_nonzero(missing))
        self.n_missing += n_missing
        present = numbers[~missing] if n_missing else numbers
        if not present.size or self._fault is not None:
            return
        if error := out_of_range(self._name, column, present, numbers):
            if not self._may_be_text or error.row is None:
                raise error
            self._fault = error.at(*locate(error.row))
            return
        if self._are_booleans:
            self._n_true += float(present.sum())
        more = moments(present)
        self._moments = more if self._moments is None else self._moments + more
        self._ids.update(present)

    def result(self) -> Learned:
        """The column's record and warnings; DataError for a number that float32 cannot hold."""
        if self._fault is not None:
            raise self._fault
        if self._moments is None:
            return without_values(self._name)
        seen, has_missing = self._moments, self.n_missing > 0
        if seen.low == seen.high:
            return Learned(ConstantColumn(self._name, f"{seen.low + 0.0:.15g}", has_missing))
        if self._are_booleans:
            return Learned(boolean_column(self._name, self._n_true / seen.count, has_missing))
        scale = seen.deviation or max(seen.high - seen.mean, seen.mean - seen.low)
        column = NumericColumn(self._name, ColumnKind.NUMERIC, seen.mean, scale, seen.mean, has_missing)
        return Learned(column, self._warning_of_id(seen))

    def _warning_of_id(self, seen: Moments) -> tuple[str, ...]:
        span = seen.high - seen.low + 1
        if not (self._ids.differ and MIN_DISTINCT <= seen.count <= span <= 2 * seen.count):
            return ()
        return (
            f"column {self._name!r} holds {seen.count} whole numbers, all different, like an id; "
            f"if it is one, leave it out ({option('drop', self._name)})",
        )


@dataclass(frozen=True, slots=True)
class NumericEncoder:
    """Encodes (x - mean) / scale, and the indicator of a missing value where training had some."""

    column: NumericColumn
    start: int

    def encode(self, values: pa.ChunkedArray) -> tuple[list[EncodedColumn], RowWarnings]:
        column = self.column
        is_boolean = column.kind is ColumnKind.BOOLEAN
        numbers = _booleans_as_numbers(column.name, values) if is_boolean else as_numbers(values)
        if numbers is None:
            raise not_a_number(column.name, values, "is not a number, but training had numbers there; correct it")
        missing = np.isnan(numbers) if numbers.size and np.isnan(numbers.min()) else None
        filled = numbers if missing is None else np.where(missing, column.fill, numbers)
        features: list[EncodedColumn] = [OneHotColumn(self.start, self._scaled(filled, values))]
        if column.has_missing:
            if missing is not None:
                features.append(OneHotColumn(np.where(missing, np.int32(self.start + 1), np.int32(-1))))
            return features, ()
        n_missing = 0 if missing is None else int(np.count_nonzero(missing))
        return features, (MissingValues(column.name, n_missing, "the share of true" if is_boolean else "the mean"),)

    def _scaled(self, filled: Floats, values: pa.ChunkedArray) -> Floats | NDArray[np.float32]:
        """(x - mean) / scale, rounded to float32 unless it is x itself."""
        column = self.column
        if filled.size and (error := out_of_range(column.name, values, filled, filled)):
            raise error
        if column.mean == 0 and column.scale == 1:
            return filled
        with np.errstate(over="ignore"):
            scaled = filled - column.mean
            scaled /= column.scale
            result = scaled.astype(np.float32)
        finite = np.isfinite(result)
        if not finite.all():
            row = int(np.argmin(finite))
            raise DataError(
                f"column {column.name!r} holds {cell(values, row)}, too far from the training values, which spread "
                f"{column.scale:.3g} around {column.mean:.3g}; correct the value",
                column=column.name,
                row=row,
            )
        return result


def out_of_range(name: str, column: pa.ChunkedArray, present: Floats, numbers: Floats) -> DataError | None:
    """The error if a number is too large for float32, else None. present: the numbers that are not NaN."""
    if present.min() >= -LARGEST and present.max() <= LARGEST:
        return None
    row = int(np.argmax(np.abs(numbers) > LARGEST))
    return DataError(
        f"column {name!r} holds {cell(column, row)}, where numbers between -1e38 and 1e38 were expected; "
        f"correct the value, or leave the column out ({option('drop', name)})",
        column=name,
        row=row,
    )


def not_a_number(name: str, column: pa.ChunkedArray, problem: str) -> DataError:
    """The error for the first value that is not a number. problem: how the sentence about the value ends."""
    row = first_not_number(column)
    return DataError(f"column {name!r} holds {cell(column, row)}, which {problem}", column=name, row=row)


def _booleans_as_numbers(name: str, values: pa.ChunkedArray) -> Floats:
    """1 for true, 0 for false, NaN for a missing value; DataError for any other value."""
    numbers = as_numbers(values)
    if numbers is not None:
        wrong = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    else:
        levels = as_levels(values)
        known = np.array([BOOLEANS.get(text.lower(), np.inf) for text in levels.texts.to_pylist()] + [np.nan])
        numbers = cast(Floats, known[levels.codes])
        wrong = np.isinf(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"column {name!r} holds {cell(values, row)}, but held only true and false in training; correct the value",
            column=name,
            row=row,
        )
    return numbers
