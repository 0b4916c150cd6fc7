"""Categorical columns, encoded one-hot: one feature of 0 and 1 per level. Dates, ids and free text are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from torchlogit.data.block import Locate, Location
from torchlogit.data.columns import Levels, as_levels, is_number, is_text, look_like_numbers
from torchlogit.data.encoding.column_kind import (
    MIN_DISTINCT,
    Column,
    ColumnKind,
    ConstantColumn,
    Learned,
    LearningLimits,
    without_values,
)
from torchlogit.data.encoding.distinct import CountedTexts, DistinctTexts
from torchlogit.data.encoding.features import EncodedColumn, OneHotColumn
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.numeric import BOOLEANS, boolean_column
from torchlogit.data.encoding.row_warnings import MAX_EXAMPLES, MissingValues, RowWarnings, UnseenLevels
from torchlogit.data.wording import drop_or_keep, examples, excerpt, option
from torchlogit.errors import DataError

# A text column with more levels than this is refused as an id if it has fewer than two rows per level on average;
# otherwise a warning names it.
MANY_LEVELS = 1000

_SPELLINGS = 2**4 + 2**5  # the number of ways to write true and false in capital and small letters
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_TIME = r"(?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?"
_YEAR = r"(?:\d{4}|\d{2})"
_DATE = rf"^(?:\d{{4}}[-/.]{_MONTH}[-/.]{_DAY}|(?:{_DAY}[-/.]{_MONTH}|{_MONTH}[-/.]{_DAY})[-/.]{_YEAR}){_TIME}$"
_SHARE_OF_DATES = 0.95  # a column is refused as dates where at least this share of its values look like dates


@dataclass(frozen=True, slots=True)
class CategoricalColumn:
    """A column of levels, one-hot in the order of `levels`. has_missing: a last feature indicates missing values."""

    name: str
    levels: tuple[str, ...]
    has_missing: bool
    kind: ColumnKind = ColumnKind.CATEGORICAL
    filled: ClassVar[float] = 1.0

    @property
    def n_features(self) -> int:
        return len(self.levels) + self.has_missing

    @property
    def feature_names(self) -> list[str]:
        return [f"{self.name}={level}" for level in self.levels] + [f"{self.name}=NA"] * self.has_missing


class CategoricalLearner:
    """Learns the levels of a column; a column of the texts true and false is learned as boolean.

    forced: the user asked for a categorical column, so that texts are not checked for booleans, dates and ids. hashed:
    only the number of levels is recorded.
    """

    def __init__(self, name: str, limits: LearningLimits, *, forced: bool, hashed: bool) -> None:
        self._name = name
        self._forced = forced
        self._counts = CountedTexts(limits.max_sampled_levels if hashed else limits.max_levels)
        self._distinct = DistinctTexts(limits.max_exact_hashes, limits.n_kept_hashes) if hashed else None
        self._first_word: Location | None = None
        self.n_missing = 0

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        """Learns from one more chunk."""
        levels = as_levels(column)
        counts = levels.counts()
        self.n_missing += len(levels.codes) - int(counts.sum())
        if self._first_word is None and not self._forced:
            self._first_word = _first_word(levels, locate)
        self._counts.add(levels.texts, counts)
        if not self._counts.is_full:
            return
        if self._distinct is None:
            self._refuse_too_many()
        elif self._distinct.is_empty:
            self._distinct.add(pa.array(self._counts.texts, pa.large_string()))
        if self._distinct is not None:
            self._distinct.add(levels.texts)

    def result(self) -> Learned:
        """The column's record and warnings; DataError for dates, ids and free text."""
        name, texts, has_missing = self._name, self._counts.texts, self.n_missing > 0
        if not texts:
            return without_values(name)
        if len(texts) == 1:
            return Learned(ConstantColumn(name, excerpt(texts[0]), has_missing))
        if not self._forced:
            if (booleans := self._booleans()) is not None:
                return Learned(booleans)
            self._refuse_dates()
            self._refuse_ids()
        if self._distinct is not None:
            return Learned(HashedColumn(name, self._n_levels + has_missing))
        column = CategoricalColumn(name, tuple(sorted(texts)), has_missing)
        if self._forced:
            return Learned(column)
        return Learned(column, _warning_of_words(name, self._words()) + _warning_of_many(name, len(texts)))

    @property
    def _n_levels(self) -> int:
        if self._distinct is None or self._distinct.is_empty:
            return len(self._counts.texts)
        return self._distinct.count

    def _booleans(self) -> Column | ConstantColumn | None:
        """The record of a boolean column if every text is true or false, in capital or small letters; else None."""
        known = [BOOLEANS.get(text.lower()) for text in self._counts.texts[:_SPELLINGS]]
        if None in known or len(self._counts.texts) > len(known):
            return None
        n_true = sum(count for count, value in zip(self._counts.counts, known, strict=True) if value)
        has_missing = self.n_missing > 0
        if n_true in (0, self._counts.total):
            return ConstantColumn(self._name, "1" if n_true else "0", has_missing)
        return boolean_column(self._name, n_true / self._counts.total, has_missing)

    def _words(self) -> list[str]:
        """The texts that are not numbers, if they are at most a tenth of more than MIN_DISTINCT texts; else none."""
        texts = pa.array(self._counts.texts, pa.large_string())
        words: list[str] = texts.filter(pc.invert(look_like_numbers(texts))).to_pylist()
        are_few = len(texts) > MIN_DISTINCT and len(words) * 10 <= len(texts)
        return words if are_few else []

    def _refuse_dates(self) -> None:
        texts = pa.array(self._counts.texts, pa.large_string())
        counts = np.array(self._counts.counts)
        dates = pc.match_substring_regex(texts, _DATE).to_numpy(zero_copy_only=False)
        if counts[dates].sum() >= _SHARE_OF_DATES * counts.sum():
            raise _holds_dates(self._name, f"such as {excerpt(texts[int(np.argmax(dates))].as_py())}")

    def _refuse_ids(self) -> None:
        n_levels, n_rows = self._n_levels, self._counts.total
        all_differ = n_levels == n_rows > MIN_DISTINCT
        if all_differ or (n_levels > MANY_LEVELS and 2 * n_levels > n_rows):
            raise self._like_an_id()

    def _refuse_too_many(self) -> None:
        """Raises the error about a column with more levels than `LearningLimits` allows."""
        if self._forced:
            raise DataError(
                f"column {self._name!r} holds {self._n_levels:,} different texts and more, each a feature of its own; "
                f"hash them (hash_bits=20 or --hash-bits 20), or leave the column out ({option('drop', self._name)})",
                column=self._name,
            )
        self._refuse_dates()
        raise self._like_an_id()

    def _like_an_id(self) -> DataError:
        name, n_levels, n_rows = self._name, self._n_levels, self._counts.total
        if words := self._words():
            error = DataError(
                f"column {name!r} holds numbers and also {examples(words)}; "
                f"correct these values, or leave the column out ({option('drop', name)})",
                column=name,
            )
            return error if self._first_word is None else error.at(*self._first_word)
        n_words = pc.mean(pc.count_substring_regex(pa.array(self._counts.texts, pa.large_string()), r"\S+")).as_py()
        what, remedy = "look like an id", drop_or_keep(name)
        if n_words >= 4:
            what, remedy = "are free text", f"read its words ({option('text', name)}), {remedy}"
        return DataError(
            f"column {name!r} holds {n_levels} different texts in {n_rows} rows, which {what}; {remedy}",
            column=name,
        )


def _first_word(levels: Levels, locate: Locate) -> Location | None:
    """The location of the first row whose text is not a number; None if all are numbers."""
    words = pc.invert(look_like_numbers(levels.texts)).to_numpy(zero_copy_only=False)
    if not words.any():
        return None
    return locate(int(np.argmax(levels.codes == int(np.argmax(words)))))


def _warning_of_words(name: str, words: Sequence[str]) -> tuple[str, ...]:
    if not words:
        return ()
    return (
        f"column {name!r} holds numbers and also {examples(words)}, and is read as categories; "
        f"correct these values if it is to be numeric",
    )


def _warning_of_many(name: str, n_levels: int) -> tuple[str, ...]:
    if n_levels <= MANY_LEVELS:
        return ()
    drop = option("drop", name)
    return (f"column {name!r} holds {n_levels} levels, one feature each; if it is an id, leave it out ({drop})",)


def _holds_dates(name: str, which: str) -> DataError:
    return DataError(f"column {name!r} holds dates, {which}; turn them into numbers, {drop_or_keep(name)}", column=name)


def refuse_type(name: str, kind: pa.DataType, role: str) -> None:
    """Raises DataError for a type other than numbers, booleans and text; times are accepted for role "categorical"."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_temporal(kind):
        if role != "categorical":
            raise _holds_dates(name, f"of type {kind}")
    elif not (is_text(kind) or is_number(kind)):
        raise DataError(
            f"column {name!r} holds values of type {kind}, where numbers, booleans or text were expected; "
            f"take it apart, or leave it out ({option('drop', name)})",
            column=name,
        )


class CategoricalEncoder:
    """Encodes each row's level as 1 in the level's feature; a level that did not occur in training has no feature."""

    def __init__(self, column: CategoricalColumn, start: int) -> None:
        self._column = column
        self._start = start
        self._levels = pa.array(column.levels, pa.string())

    def encode(self, values: pa.ChunkedArray) -> tuple[list[EncodedColumn], RowWarnings]:
        column = self._column
        refuse_type(column.name, values.type, "categorical")
        levels = as_levels(values)
        known = pc.index_in(levels.texts, value_set=self._levels.cast(levels.texts.type)).fill_null(-1).to_numpy()
        of_missing = self._start + len(column.levels) if column.has_missing else -1
        places = np.append(np.where(known < 0, -1, known + self._start), of_missing).astype(np.int32)
        features: list[EncodedColumn] = [OneHotColumn(places[levels.codes])]
        if column.has_missing and not column.levels:
            return features, ()
        unseen, n_unseen, n_missing, texts = known < 0, 0, 0, ()
        if unseen.any() or (levels.codes.size and levels.codes.min() < 0):
            counts = levels.counts()
            n_unseen, n_missing = int(counts[unseen].sum()), len(levels.codes) - int(counts.sum())
            texts = tuple(levels.texts.filter(pa.array(unseen)).slice(0, MAX_EXAMPLES).to_pylist())
        warnings: RowWarnings = (UnseenLevels(column.name, n_unseen, texts),)
        if not column.has_missing:
            warnings += (MissingValues(column.name, n_missing, "no level"),)
        return features, warnings
