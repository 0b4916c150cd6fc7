"""Columns of numbers and truths: (x - mean) / scale, 1 and 0, and an indicator of missing values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa

from torchlogit.data.block import Locate
from torchlogit.data.columns import Floats, as_levels, as_numbers, first_not_number
from torchlogit.data.encoding.features import Part, Slot
from torchlogit.data.encoding.ids import DistinctNumbers
from torchlogit.data.encoding.learned import Learned
from torchlogit.data.encoding.moments import Moments, moments
from torchlogit.data.encoding.remarks import Missing, Remarks
from torchlogit.data.wording import excerpt, option
from torchlogit.errors import DataError
from torchlogit.records import CategoricalColumn, ColumnKind, DroppedColumn, NumericColumn

LARGEST = 1e38  # float32 holds 3.4e38
FEWEST_DISTINCT = 20  # up to so many rows, all different, may be categories or a run of numbers by accident
TRUTHS = {"true": 1.0, "false": 0.0}


class NumberLearner:
    """Learns what is kept of numbers: mean and scale; of truths, the share of true.

    may_be_text: later values may show that the column holds levels, among which no number is too large.
    """

    def __init__(self, name: str, *, are_truths: bool, may_be_text: bool) -> None:
        self._name = name
        self._are_truths = are_truths
        self._may_be_text = may_be_text
        self._moments: Moments | None = None
        self._n_true = 0.0
        self._ids = DistinctNumbers()
        self._fault: DataError | None = None
        self.n_missing = 0

    @property
    def is_empty(self) -> bool:
        """Whether all values were missing."""
        return self._moments is None and self._fault is None

    def update(self, numbers: Floats, column: pa.ChunkedArray, locate: Locate) -> None:
        """Looks at more numbers, NaN where they are missing; `column`, as they were given."""
        missing = np.isnan(numbers)
        n_missing = int(np.count_nonzero(missing))
        self.n_missing += n_missing
        present = numbers[~missing] if n_missing else numbers
        if not present.size or self._fault is not None:
            return
        if error := extreme(self._name, column, present, numbers):
            if not self._may_be_text or error.row is None:
                raise error
            self._fault = error.at(*locate(error.row))
            return
        if self._are_truths:
            self._n_true += float(present.sum())
        more = moments(present)
        self._moments = more if self._moments is None else self._moments + more
        self._ids.update(present)

    def result(self) -> Learned:
        """What was learned."""
        if self._fault is not None:
            raise self._fault
        if self._moments is None:
            return without_values(self._name)
        seen, has_missing = self._moments, self.n_missing > 0
        if seen.low == seen.high:
            return constant(self._name, f"{seen.low + 0.0:.15g}", has_missing)
        if self._are_truths:
            return truths(self._name, self._n_true / seen.count, has_missing), ()
        scale = seen.deviation or max(seen.high - seen.mean, seen.mean - seen.low)
        column = NumericColumn(self._name, ColumnKind.NUMERIC, seen.mean, scale, seen.mean, has_missing)
        return column, self._notice_of_run(seen)

    def _notice_of_run(self, seen: Moments) -> tuple[str, ...]:
        span = seen.high - seen.low + 1
        if not (self._ids.differ and FEWEST_DISTINCT <= seen.count <= span <= 2 * seen.count):
            return ()
        return (
            f"column {self._name!r} holds {seen.count} whole numbers, all different, like an id; "
            f"if it is one, leave it out ({option('drop', self._name)})",
        )


def truths(name: str, share: float, has_missing: bool) -> NumericColumn:
    """What is kept of truths, of which some are true and some false."""
    return NumericColumn(name, ColumnKind.BOOLEAN, mean=0.0, scale=1.0, fill=share, has_missing=has_missing)


def extreme(name: str, column: pa.ChunkedArray, present: Floats, numbers: Floats) -> DataError | None:
    """The error that a number which float32 cannot hold deserves; `present`, those of the numbers that are not NaN."""
    if present.min() >= -LARGEST and present.max() <= LARGEST:
        return None
    row = int(np.argmax(np.abs(numbers) > LARGEST))
    return DataError(
        f"column {name!r} holds {cell(column, row)}, where numbers between -1e38 and 1e38 were expected; "
        f"correct the value, or leave the column out ({option('drop', name)})",
        column=name,
        row=row,
    )


def not_a_number(name: str, column: pa.ChunkedArray, what: str) -> DataError:
    """The error that the first value which is no number deserves."""
    row = first_not_number(column)
    return DataError(f"column {name!r} holds {cell(column, row)}, which {what}", column=name, row=row)


@dataclass(frozen=True, slots=True)
class NumberEncoder:
    """Encodes (x - mean) / scale, and the indicator of a missing value where training had some."""

    column: NumericColumn
    start: int

    def encode(self, values: pa.ChunkedArray) -> tuple[list[Part], Remarks]:
        column = self.column
        is_boolean = column.kind is ColumnKind.BOOLEAN
        numbers = _read_truths(column.name, values) if is_boolean else as_numbers(values)
        if numbers is None:
            raise not_a_number(column.name, values, "is no number, and training had numbers there; correct the value")
        missing = np.isnan(numbers) if numbers.size and np.isnan(numbers.min()) else None
        filled = numbers if missing is None else np.where(missing, column.fill, numbers)
        parts: list[Part] = [Slot(self.start, self._scaled(filled, values))]
        if column.has_missing:
            if missing is not None:
                parts.append(Slot(np.where(missing, np.int32(self.start + 1), np.int32(-1))))
            return parts, ()
        n_missing = 0 if missing is None else int(np.count_nonzero(missing))
        return parts, (Missing(column.name, n_missing, "the share of true" if is_boolean else "the mean"),)

    def _scaled(self, filled: Floats, values: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        column = self.column
        if filled.size and (error := extreme(column.name, values, filled, filled)):
            raise error
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


def _read_truths(name: str, values: pa.ChunkedArray) -> Floats:
    numbers = as_numbers(values)
    if numbers is not None:
        wrong = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    else:
        levels = as_levels(values)
        known = np.array([TRUTHS.get(text.lower(), np.inf) for text in levels.texts.to_pylist()] + [np.nan])
        numbers = cast(Floats, known[levels.codes])
        wrong = np.isinf(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"column {name!r} holds {cell(values, row)}, and was true or false in training; correct the value",
            column=name,
            row=row,
        )
    return numbers


def without_values(name: str) -> Learned:
    """What is kept of a column that has no values."""
    return DroppedColumn(name, "no values"), (f"column {name!r} has no values and is left out",)


def constant(name: str, value: str, has_missing: bool) -> Learned:
    """What is kept of a column with one value only."""
    if has_missing:
        # The value says no more than that there is one: the indicator of a missing value tells it all.
        notice = f"column {name!r} holds one value only, {value}: what is kept is whether it is missing"
        return CategoricalColumn(name, (), has_missing=True), (notice,)
    notice = f"column {name!r} holds one value only, {value}, and is left out"
    return DroppedColumn(name, "one value only"), (notice,)


def cell(column: pa.ChunkedArray, row: int) -> str:
    """A value of a column as a message shows it."""
    value = column[row].as_py()
    return excerpt(value.strip() if isinstance(value, str) else value)
