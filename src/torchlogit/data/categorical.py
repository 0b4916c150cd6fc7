"""Columns of levels: a column of 0 and 1 for each; and what looks like dates, ids or free text, refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from torchlogit.data.columns import Floats, Levels, as_levels, first_not_number, is_number, is_text, written_as_numbers
from torchlogit.data.features import Features
from torchlogit.data.numeric import (
    FEWEST_DISTINCT,
    TRUTHS,
    Learned,
    constant,
    learn_numbers,
    notice_of_missing,
    ones,
    without_values,
)
from torchlogit.data.wording import examples, excerpt, option, rows_are, settled
from torchlogit.errors import DataError
from torchlogit.records import CategoricalColumn, ColumnKind

MOST_LEVELS = 1000  # a text column with more levels than this, in more than half its rows, is no category

_SPELLINGS = 2**4 + 2**5  # of true and false, in capitals and small letters
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_TIME = r"(?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?"
_YEAR = r"(?:\d{4}|\d{2})"
_DATE = rf"^(?:\d{{4}}[-/.]{_MONTH}[-/.]{_DAY}|(?:{_DAY}[-/.]{_MONTH}|{_MONTH}[-/.]{_DAY})[-/.]{_YEAR}){_TIME}$"


def learn_levels(name: str, column: pa.ChunkedArray, *, forced: bool) -> Learned:
    """What is kept of texts: the levels; of true and false, what is kept of truths. forced: whatever they look like."""
    levels = as_levels(column)
    counts = levels.counts()
    has_missing = bool((levels.codes < 0).any())
    if not counts.size:
        return without_values(name)
    if counts.size == 1:
        return constant(name, excerpt(levels.texts[0].as_py()), has_missing)
    if not forced:
        if (truth := _truth_of(levels)) is not None:
            return learn_numbers(name, truth, ColumnKind.BOOLEAN)
        _refuse_dates(name, levels, counts)
        _refuse_ids(name, column, levels, counts)
    texts = tuple(sorted(levels.texts.to_pylist()))
    notices = () if forced else _notice_of_numbers(name, _intruders(levels)) + _notice_of_many(name, len(texts))
    return CategoricalColumn(name, texts, has_missing), notices


def _truth_of(levels: Levels) -> Floats | None:
    """1, 0 and NaN, where all the texts are true and false however capitalised; else None."""
    truths = [TRUTHS.get(text.lower()) for text in levels.texts.slice(0, _SPELLINGS).to_pylist()]
    if None in truths or len(levels.texts) > len(truths):
        return None
    return np.array([*truths, np.nan], np.float64)[levels.codes]


def _notice_of_numbers(name: str, others: Sequence[str]) -> tuple[str, ...]:
    if not others:
        return ()
    return (
        f"column {name!r} holds numbers and also {examples(others)}, and is read as categories; "
        f"correct these values if it is to be numeric",
    )


def _notice_of_many(name: str, n_levels: int) -> tuple[str, ...]:
    if n_levels <= MOST_LEVELS:
        return ()
    drop = option("drop", name)
    return (f"column {name!r} holds {n_levels} levels, one feature each; if it is an id, leave it out ({drop})",)


def _intruders(levels: Levels) -> list[str]:
    """The texts that are no numbers, where they are few among texts that are."""
    others = levels.texts.filter(pc.invert(written_as_numbers(levels.texts))).to_pylist()
    few = len(levels.texts) > FEWEST_DISTINCT and len(others) * 10 <= len(levels.texts)
    return others if few else []


def _refuse_dates(name: str, levels: Levels, counts: NDArray[np.int64]) -> None:
    dates = pc.match_substring_regex(levels.texts, _DATE).to_numpy(zero_copy_only=False)
    if counts[dates].sum() >= 0.95 * counts.sum():
        raise _holds_dates(name, f"such as {excerpt(levels.texts[int(np.argmax(dates))].as_py())}")


def _holds_dates(name: str, which: str) -> DataError:
    return DataError(f"column {name!r} holds dates, {which}; turn them into numbers, {settled(name)}", column=name)


def _refuse_ids(name: str, column: pa.ChunkedArray, levels: Levels, counts: NDArray[np.int64]) -> None:
    n_levels, n_rows = counts.size, int(counts.sum())
    all_differ = n_levels == n_rows > FEWEST_DISTINCT
    if not all_differ and (n_levels <= MOST_LEVELS or 2 * n_levels <= n_rows):
        return
    if others := _intruders(levels):
        raise DataError(
            f"column {name!r} holds numbers and also {examples(others)}; "
            f"correct these values, or leave the column out ({option('drop', name)})",
            column=name,
            row=first_not_number(column),
        )
    words = pc.mean(pc.count_substring_regex(levels.texts, r"\S+")).as_py()
    what, remedy = "look like an id", settled(name)
    if words >= 4:
        what, remedy = "are free text", f"read its words ({option('text', name)}), {remedy}"
    raise DataError(
        f"column {name!r} holds {n_levels} different texts in {n_rows} rows, which {what}; {remedy}",
        column=name,
    )


def refuse_type(name: str, kind: pa.DataType, role: str) -> None:
    """DataError for a type that holds neither numbers nor truths nor text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_temporal(kind):
        if role != "categorical":
            raise _holds_dates(name, f"of type {kind}")
    elif not (is_text(kind) or is_number(kind)):
        raise DataError(
            f"column {name!r} holds values of type {kind}, where numbers, truths or text were expected; "
            f"take it apart, or leave it out ({option('drop', name)})",
            column=name,
        )


def encode_levels(column: CategoricalColumn, values: pa.ChunkedArray, out: Features) -> tuple[str, ...]:
    """Puts a one at each row's level; a level that training has not seen is none."""
    refuse_type(column.name, values.type, "categorical")
    levels = as_levels(values)
    missing = levels.codes < 0
    if column.has_missing:
        out.put(*ones(np.flatnonzero(missing), len(column.levels)))
    if not column.levels:
        return ()
    known = pc.index_in(levels.texts, value_set=pa.array(column.levels, levels.texts.type)).fill_null(-1).to_numpy()
    places = np.append(known, -1)[levels.codes]
    seen = places >= 0
    rows = np.flatnonzero(seen)
    out.put(rows, places[rows], np.ones(len(rows), np.float32))
    unseen = levels.texts.filter(pa.array(known < 0)).to_pylist()
    n_missing = 0 if column.has_missing else int(np.count_nonzero(missing))
    return (
        *_notice_of_unseen(column.name, int(np.count_nonzero(~seen & ~missing)), unseen),
        *notice_of_missing(column.name, n_missing, "no level"),
    )


def _notice_of_unseen(name: str, count: int, texts: Sequence[str]) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"column {name!r}: {rows_are(count)} not seen in training ({examples(texts)}), taken as no level",)
