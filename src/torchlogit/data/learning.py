"""What a source of rows is about, learned in one reading: its columns, its classes and its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from torchlogit.data.block import Piece, piece_of, rechunked
from torchlogit.data.encoding.encoder import TableEncoder
from torchlogit.data.labels import ClassTotals, LabelLearner
from torchlogit.data.reading.source import START, Source
from torchlogit.data.weights import no_weight, weights_in
from torchlogit.data.wording import meant
from torchlogit.errors import DataError

Keep: TypeAlias = Callable[[int, int], NDArray[np.bool_]]
"""Which of so many rows, from the one with an index on, are trained on: those that the encoder learns from."""


@dataclass(frozen=True, slots=True)
class LearnedTable:
    """What was learned: the `encoder`, fitted to the rows that are kept; the classes, of all rows, with the number and
    weight of the kept rows of each; how many `rows` were read and `kept`; what deserves a look, one sentence each."""

    encoder: TableEncoder
    classes: ClassTotals
    rows: int
    kept: int
    notices: tuple[str, ...]


def drawn(share: float, seed: int) -> Keep:
    """Keeps all but a share of the rows, drawn at random: the draws of one `default_rng(seed).random(n)`.

    >>> keep = drawn(0.5, seed=0)
    >>> keep(0, 4).tolist(), keep(2, 2).tolist(), (np.random.default_rng(0).random(4) >= 0.5).tolist()
    ([True, False, False, False], [False, False], [True, False, False, False])
    """

    def keep(first: int, n: int) -> NDArray[np.bool_]:
        draws = np.random.PCG64(seed)
        draws.advance(first)
        return np.asarray(np.random.Generator(draws).random(n) >= share)

    return keep


def learn_table(
    source: Source,
    encoder: TableEncoder,
    *,
    target: str,
    positive: str | None = None,
    weight: str | None = None,
    keep: Keep | None = None,
    sample_rows: int | None = None,
) -> LearnedTable:
    """Fits the encoder to all columns but the target and the weight, and learns classes and weights.

    One reading, and another of the columns that looked like numbers and turned out to hold text. `sample_rows`: from
    the first so many rows alone. Raises DataError, which says in which file and row, where there is one.
    """
    columns = source.column_names
    try:
        _refuse_lacking(columns, target, weight)
        reading = _Reading(source, target, weight, keep, sample_rows, LabelLearner(target, positive))
        names = [name for name in columns if name not in (target, weight)]
        encoder.learn(reading.pieces, names)
    except DataError as error:
        raise error.located(source.files) from None
    assert reading.totals is not None
    return LearnedTable(encoder, reading.totals, reading.n_rows, reading.n_kept, (*reading.notices, *encoder.notices_))


def _refuse_lacking(columns: Sequence[str], target: str, weight: str | None) -> None:
    for what, name in (("target", target), ("weight", weight)):
        if name is not None and name not in columns:
            raise DataError(f"there is no {what} column {name!r}; {meant(name, columns)}")


@dataclass(slots=True)
class _Reading:
    """The kept rows of a source, in pieces; in the first reading, what is learned of the target and the weights."""

    source: Source
    target: str
    weight: str | None
    keep: Keep | None
    sample_rows: int | None
    labels: LabelLearner
    totals: ClassTotals | None = None
    n_rows: int = 0
    n_kept: int = 0
    notices: list[str] = field(default_factory=list)

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows to learn from, of these columns alone."""
        kept = self._looked_at(names) if self.totals is None else self._again(names)
        return kept if self.keep is None else rechunked(kept)

    def _blocks(self, names: Sequence[str]) -> Iterator[Piece]:
        """What is read, up to the number of rows that is asked for."""
        left = self.sample_rows
        for piece in map(piece_of, self.source.blocks(START, columns=names)):
            if left is None:
                yield piece
                continue
            if left:
                yield piece.between(0, min(left, len(piece)))
            if len(piece) > left:
                if self.totals is None:
                    self.notices.append(f"learned from the first {self.sample_rows:,} rows alone, as asked for")
                return
            left -= len(piece)

    def _kept(self, piece: Piece) -> NDArray[np.bool_]:
        return np.ones(len(piece), np.bool_) if self.keep is None else self.keep(piece.first, len(piece))

    def _looked_at(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows that are kept, after a look at the labels and weights of all; after the last, at their totals."""
        own = [self.target] if self.weight in (None, self.target) else [self.target, str(self.weight)]
        any_weight = self.weight is None
        for piece in rechunked(self._blocks([*own, *names])):
            kept = self._kept(piece)
            with piece.blamed():
                weight = None if self.weight is None else weights_in(piece.table, self.weight)
                self.labels.update(piece, kept, weight)
            any_weight = any_weight or (weight is not None and bool(weight.any()))
            self.n_rows += len(piece)
            self.n_kept += int(np.count_nonzero(kept))
            if piece.last:
                self.totals = self.labels.result()
                if not any_weight:
                    assert self.weight is not None
                    raise no_weight(self.weight)
                _refuse_empty_class(self.totals)
            yield piece.select(names).where(kept)

    def _again(self, names: Sequence[str]) -> Iterator[Piece]:
        for piece in rechunked(self._blocks(names)):
            yield piece.where(self._kept(piece))


def _refuse_empty_class(totals: ClassTotals) -> None:
    """Every class needs rows to learn from: a share held out, or weights of zero, may have taken them all."""
    if not totals.weight.all():
        empty = totals.classes[int(np.argmin(totals.weight))]
        raise DataError(
            f"class {empty!r} has no row of positive weight to train on; "
            f"give it some, hold out fewer rows, or leave the class out"
        )
