"""What a source of rows is about, learned in one reading: its columns, its classes and its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from torchlogit.data.block import Piece, piece_of, rechunked
from torchlogit.data.encoding.column_kind import LIMITS, LearningLimits
from torchlogit.data.encoding.encoder import Encoder, EncoderOptions, learn_encoder
from torchlogit.data.labels import ClassTotals, LabelLearner
from torchlogit.data.plan import Keep, Plan
from torchlogit.data.reading.source import START, Source
from torchlogit.data.weights import no_weight, weights_in
from torchlogit.data.wording import meant
from torchlogit.errors import DataError


@dataclass(frozen=True, slots=True)
class LearnedTable:
    """What was learned from the rows that are trained on: the encoder, and the number and weight of each class's rows.

    The classes are those of all rows, held out or not. warnings: one sentence each.
    """

    encoder: Encoder
    classes: ClassTotals
    warnings: tuple[str, ...]


def learn_table(source: Source, options: EncoderOptions, plan: Plan, limits: LearningLimits = LIMITS) -> LearnedTable:
    """Learns the encoder from all columns but the target and the weight; and the classes and their weights.

    One reading, and another of the columns that looked like numbers and turned out to hold text. Raises DataError,
    which names the file and the row where there is one.
    """
    columns = source.column_names
    try:
        _refuse_lacking(columns, plan)
        reading = _Reading(source, plan, plan.keep, LabelLearner(plan.target, plan.positive))
        names = [name for name in columns if name not in plan.own_columns]
        encoder, warnings = learn_encoder(reading.pieces, names, options, limits)
    except DataError as error:
        raise error.located(source.files) from None
    assert reading.totals is not None
    return LearnedTable(encoder, reading.totals, (*reading.warnings, *warnings))


def _refuse_lacking(columns: Sequence[str], plan: Plan) -> None:
    for what, name in (("target", plan.target), ("weight", plan.weight)):
        if name is not None and name not in columns:
            raise DataError(f"there is no {what} column {name!r}; {meant(name, columns)}")


@dataclass(slots=True)
class _Reading:
    """The kept rows of a source, in pieces; in the first reading, what is learned of the target and the weights."""

    source: Source
    plan: Plan
    keep: Keep | None
    labels: LabelLearner
    totals: ClassTotals | None = None
    warnings: list[str] = field(default_factory=list)

    def pieces(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows to learn from, of these columns alone."""
        kept = self._looked_at(names) if self.totals is None else self._again(names)
        return kept if self.keep is None else rechunked(kept)

    def _blocks(self, names: Sequence[str]) -> Iterator[Piece]:
        """What is read, up to the number of rows that is asked for."""
        left = self.plan.sample_rows
        for piece in map(piece_of, self.source.blocks(START, columns=names)):
            if left is None:
                yield piece
                continue
            if left:
                yield piece.between(0, min(left, len(piece)))
            if len(piece) > left:
                if self.totals is None:
                    self.warnings.append(f"learned from the first {self.plan.sample_rows:,} rows alone, as asked for")
                return
            left -= len(piece)

    def _kept(self, piece: Piece) -> NDArray[np.bool_]:
        return np.ones(len(piece), np.bool_) if self.keep is None else self.keep(piece.first, len(piece))

    def _looked_at(self, names: Sequence[str]) -> Iterator[Piece]:
        """The rows that are kept, after a look at the labels and weights of all; after the last, at their totals."""
        name = self.plan.weight
        any_weight = name is None
        for piece in rechunked(self._blocks([*self.plan.own_columns, *names])):
            kept = self._kept(piece)
            with piece.blamed():
                weight = None if name is None else weights_in(piece.table, name)
                self.labels.update(piece, kept, weight)
            any_weight = any_weight or (weight is not None and bool(weight.any()))
            if piece.last:
                self.totals = self.labels.result()
                if name is not None and not any_weight:
                    raise no_weight(name)
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
