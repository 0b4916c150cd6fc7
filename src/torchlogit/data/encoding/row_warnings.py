"""Warnings about values that did not occur in training, as counts of rows; those of several blocks can be added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from torchlogit.data.wording import examples

MAX_EXAMPLES = 4  # example values that a warning keeps: messages show three, and "..." if there is a fourth


class RowWarning(Protocol):
    """A number of rows with a kind of value that did not occur in training; if it is 0, there is nothing to warn of."""

    @property
    def count(self) -> int: ...

    @property
    def message(self) -> str: ...

    def __add__(self, other: Self) -> Self: ...


@dataclass(frozen=True, slots=True)
class MissingValues:
    """Missing values in a column that had none in training. taken_as: how they are encoded."""

    column: str
    count: int
    taken_as: str

    @property
    def message(self) -> str:
        rows = "1 row" if self.count == 1 else f"{self.count} rows"
        return f"column {self.column!r}: missing in {rows}, but in no training row; encoded as {self.taken_as}"

    def __add__(self, other: MissingValues) -> MissingValues:
        return MissingValues(self.column, self.count + other.count, self.taken_as)


@dataclass(frozen=True, slots=True)
class UnseenLevels:
    """Rows with a level that did not occur in training. texts: the first such levels."""

    column: str
    count: int
    texts: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        rows = "1 row holds a level" if self.count == 1 else f"{self.count} rows hold levels"
        return f"column {self.column!r}: {rows} not seen in training ({examples(self.texts)}), encoded as no level"

    def __add__(self, other: UnseenLevels) -> UnseenLevels:
        texts = tuple(dict.fromkeys((*self.texts, *other.texts)))
        return UnseenLevels(self.column, self.count + other.count, texts[:MAX_EXAMPLES])


@dataclass(frozen=True, slots=True)
class UnseenFeatures:
    """Rows of vectors with features that did not occur in training. indices: the smallest indices of such features."""

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
    """The warnings of two blocks, added one by one: both come from the same encoder, in the same order.

    warnings: those of the earlier blocks, () if there are none.

    >>> both = added((UnseenLevels("job", 1, ("cook",)),), (UnseenLevels("job", 2, ("smith", "cook")),))
    >>> messages(both)
    ("column 'job': 3 rows hold levels not seen in training ('cook', 'smith'), encoded as no level",)
    """
    return tuple(one + other for one, other in zip(warnings, others, strict=True)) if warnings else others


def messages(warnings: Iterable[RowWarning]) -> tuple[str, ...]:
    """One sentence for each warning that counts at least one row."""
    return tuple(warning.message for warning in warnings if warning.count)
