"""What deserves a look in encoded rows, as counts: those of blocks add up to those of all rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, Self, TypeAlias

from torchlogit.data.wording import examples, rows_are

SHOWN = 4  # examples kept: three to show, and one more to say that there are more


class Remark(Protocol):
    """So many rows have something that training had not; those of other rows are added to it."""

    @property
    def count(self) -> int: ...

    @property
    def sentence(self) -> str: ...

    def __add__(self, other: Self) -> Self: ...


@dataclass(frozen=True, slots=True)
class Missing:
    """Values missing where none was in training."""

    column: str
    count: int
    taken_as: str

    @property
    def sentence(self) -> str:
        rows = rows_are(self.count)
        return f"column {self.column!r}: {rows} missing, which training never was, taken as {self.taken_as}"

    def __add__(self, other: Missing) -> Missing:
        return Missing(self.column, self.count + other.count, self.taken_as)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Levels that training had not; `texts`, the first of them."""

    column: str
    count: int
    texts: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        shown = examples(self.texts)
        return f"column {self.column!r}: {rows_are(self.count)} not seen in training ({shown}), taken as no level"

    def __add__(self, other: Unseen) -> Unseen:
        texts = tuple(dict.fromkeys((*self.texts, *other.texts)))
        return Unseen(self.column, self.count + other.count, texts[:SHOWN])


@dataclass(frozen=True, slots=True)
class UnseenFeatures:
    """Rows of vectors with features that training had not; `indices`, the least of them."""

    column: str
    count: int
    indices: tuple[int, ...] = ()

    @property
    def sentence(self) -> str:
        rows = "1 row holds" if self.count == 1 else f"{self.count} rows hold"
        names = examples([f"{self.column}{index}" for index in self.indices])
        return f"column {self.column!r}: {rows} features not seen in training ({names}), left out"

    def __add__(self, other: UnseenFeatures) -> UnseenFeatures:
        indices = sorted({*self.indices, *other.indices})
        return UnseenFeatures(self.column, self.count + other.count, tuple(indices[:SHOWN]))


Remarks: TypeAlias = tuple[Remark, ...]


def added(remarks: Remarks, more: Remarks) -> Remarks:
    """Those of two blocks that one encoder encoded, one after the other: it makes the same remarks for each.

    >>> both = added((Unseen("job", 1, ("cook",)),), (Unseen("job", 2, ("smith", "cook")),))
    >>> sentences(both)
    ("column 'job': 3 rows are not seen in training ('cook', 'smith'), taken as no level",)
    """
    return tuple(one + other for one, other in zip(remarks, more, strict=True))


def sentences(remarks: Iterable[Remark]) -> tuple[str, ...]:
    """One sentence for each that counts a row."""
    return tuple(remark.sentence for remark in remarks if remark.count)
