"""Warnings of values that training did not have, as counts of rows: those of several blocks can be added up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from torchlogit.data.wording import examples, rows_are

MAX_EXAMPLES = 4  # values that a warning keeps: three to show, and one more to know that there are more


class RowWarning(Protocol):
    """How many rows have something that training did not have; no warning where it is 0."""

    @property
    def count(self) -> int: ...

    @property
    def message(self) -> str: ...

    def __add__(self, other: Self) -> Self: ...


@dataclass(frozen=True, slots=True)
class MissingValues:
    """Missing values in a column that had none in training; taken_as: how they are encoded."""

    column: str
    count: int
    taken_as: str

    @property
    def message(self) -> str:
        rows = rows_are(self.count)
        return f"column {self.column!r}: {rows} missing, which training never was, taken as {self.taken_as}"

    def __add__(self, other: MissingValues) -> MissingValues:
        return MissingValues(self.column, self.count + other.count, self.taken_as)


@dataclass(frozen=True, slots=True)
class UnseenLevels:
    """Rows with a level that training did not have; texts: the first such levels."""

    column: str
    count: int
    texts: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        shown = examples(self.texts)
        return f"column {self.column!r}: {rows_are(self.count)} not seen in training ({shown}), taken as no level"

    def __add__(self, other: UnseenLevels) -> UnseenLevels:
        texts = tuple(dict.fromkeys((*self.texts, *other.texts)))
        return UnseenLevels(self.column, self.count + other.count, texts[:MAX_EXAMPLES])


@dataclass(frozen=True, slots=True)
class UnseenFeatures:
    """Rows of vectors with features that training did not have; indices: the smallest of these features."""

    column: str
    count: int
    indices: tuple[int, ...] = ()

    @property
    def message(self) -> str:
        rows = "1 row holds" if self.count == 1 else f"{self.count} rows hold"
        names = examples([f"{self.column}{index}" for index in self.indices])
        return f"column {self.column!r}: {rows} features not seen in training ({names}), left out"

    def __add__(self, other: UnseenFeatures) -> UnseenFeatures:
        indices = sorted({*self.indices, *other.indices})
        return UnseenFeatures(self.column, self.count + other.count, tuple(indices[:MAX_EXAMPLES]))


RowWarnings: TypeAlias = tuple[RowWarning, ...]


def added(warnings: RowWarnings, others: RowWarnings) -> RowWarnings:
    """The warnings of two blocks that the same encoder encoded: both have the same kinds of warnings in the same order.

    warnings: those of the blocks before, () if there are none.

    >>> both = added((UnseenLevels("job", 1, ("cook",)),), (UnseenLevels("job", 2, ("smith", "cook")),))
    >>> messages(both)
    ("column 'job': 3 rows are not seen in training ('cook', 'smith'), taken as no level",)
    """
    return tuple(one + other for one, other in zip(warnings, others, strict=True)) if warnings else others


def messages(warnings: Iterable[RowWarning]) -> tuple[str, ...]:
    """One sentence for each warning that counts at least one row."""
    return tuple(warning.message for warning in warnings if warning.count)
