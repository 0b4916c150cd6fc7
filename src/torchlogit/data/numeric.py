"""Columns of numbers and truths: (x - mean) / scale, 1 and 0, and an indicator of missing values."""

from __future__ import annotations

import math
from typing import TypeAlias, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.columns import Floats, as_levels, as_numbers, first_not_number
from torchlogit.data.features import Features
from torchlogit.data.wording import excerpt, option, rows_are
from torchlogit.errors import DataError
from torchlogit.records import CategoricalColumn, Column, ColumnKind, DroppedColumn, NumericColumn

LARGEST = 1e38  # float32 holds 3.4e38
FEWEST_DISTINCT = 20  # up to so many rows, all different, may be categories or a run of numbers by accident
TRUTHS = {"true": 1.0, "false": 0.0}

Learned: TypeAlias = tuple[Column | DroppedColumn, tuple[str, ...]]


def learn_numbers(name: str, numbers: Floats, kind: ColumnKind) -> Learned:
    """What is kept of numbers, NaN where they are missing: mean and scale; of truths, the share of true."""
    missing = np.isnan(numbers)
    has_missing = bool(missing.any())
    present = numbers[~missing] if has_missing else numbers
    if not present.size:
        return without_values(name)
    if present.min() == present.max():
        return constant(name, f"{present[0]:.15g}", has_missing)
    if kind is ColumnKind.BOOLEAN:
        return NumericColumn(name, kind, mean=0.0, scale=1.0, fill=float(present.mean()), has_missing=has_missing), ()
    mean, scale = _mean_and_scale(present)
    column = NumericColumn(name, kind, mean=mean, scale=scale, fill=mean, has_missing=has_missing)
    return column, _notice_of_run(name, present)


def _mean_and_scale(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0), in two passes so that a large mean does not eat the digits."""
    mean = float(np.mean(values))
    deviations = values - mean
    largest = float(np.abs(deviations).max())
    # In units of a power of two near the largest no square underflows; and a scale must not round to 0.
    unit = math.ldexp(0.5, math.frexp(largest)[1])
    return mean, unit * math.sqrt(np.mean(np.square(deviations / unit))) or largest


def _notice_of_run(name: str, numbers: Floats) -> tuple[str, ...]:
    span = numbers.max() - numbers.min() + 1
    if not FEWEST_DISTINCT <= numbers.size <= span <= 2 * numbers.size or np.any(numbers != np.floor(numbers)):
        return ()
    if np.bincount((numbers - numbers.min()).astype(np.int64)).max() > 1:
        return ()
    return (
        f"column {name!r} holds {numbers.size} whole numbers, all different, like an id; "
        f"if it is one, leave it out ({option('drop', name)})",
    )


def refuse_extreme(name: str, column: pa.ChunkedArray, numbers: Floats) -> None:
    """DataError for a number that float32 cannot hold."""
    extreme = np.abs(numbers) > LARGEST
    if extreme.any():
        row = int(np.argmax(extreme))
        raise DataError(
            f"column {name!r} holds {cell(column, row)}, where numbers between -1e38 and 1e38 were expected; "
            f"correct the value, or leave the column out ({option('drop', name)})",
            column=name,
            row=row,
        )


def not_a_number(name: str, column: pa.ChunkedArray, what: str) -> DataError:
    """The error that the first value which is no number deserves."""
    row = first_not_number(column)
    return DataError(f"column {name!r} holds {cell(column, row)}, which {what}", column=name, row=row)


def encode_numbers(column: NumericColumn, values: pa.ChunkedArray, out: Features) -> tuple[str, ...]:
    """Puts (x - mean) / scale, and the indicator of a missing value where training had some."""
    numbers = _read_truths(column.name, values) if column.kind is ColumnKind.BOOLEAN else as_numbers(values)
    if numbers is None:
        raise not_a_number(column.name, values, "is no number, and training had numbers there; correct the value")
    refuse_extreme(column.name, values, numbers)
    missing = np.isnan(numbers)
    n_missing = int(np.count_nonzero(missing))
    filled = np.where(missing, column.fill, numbers) if n_missing else numbers
    with np.errstate(over="ignore"):
        scaled = ((filled - column.mean) / column.scale).astype(np.float32)
    finite = np.isfinite(scaled)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"column {column.name!r} holds {cell(values, row)}, too far from the training values, which spread "
            f"{column.scale:.3g} around {column.mean:.3g}; correct the value",
            column=column.name,
            row=row,
        )
    out.put(np.arange(len(scaled)), 0, scaled)
    if column.has_missing:
        out.put(*ones(np.flatnonzero(missing), 1))
        return ()
    fill = "the share of true" if column.kind is ColumnKind.BOOLEAN else "the mean"
    return notice_of_missing(column.name, n_missing, fill)


def _read_truths(name: str, values: pa.ChunkedArray) -> Floats:
    numbers = as_numbers(values)
    if numbers is not None:
        wrong = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    else:
        levels = as_levels(values)
        truths = np.array([TRUTHS.get(text.lower(), np.inf) for text in levels.texts.to_pylist()] + [np.nan])
        numbers = cast(Floats, truths[levels.codes])
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


def notice_of_missing(name: str, count: int, taken_as: str) -> tuple[str, ...]:
    """A sentence where values are missing and never were in training."""
    if not count:
        return ()
    return (f"column {name!r}: {rows_are(count)} missing, which training never was, taken as {taken_as}",)


def ones(rows: NDArray[np.int64], place: int) -> tuple[NDArray[np.int64], int, NDArray[np.float32]]:
    """A one in these rows, as Features.put takes it."""
    return rows, place, np.ones(len(rows), np.float32)


def cell(column: pa.ChunkedArray, row: int) -> str:
    """A value of a column as a message shows it."""
    value = column[row].as_py()
    return excerpt(value.strip() if isinstance(value, str) else value)
