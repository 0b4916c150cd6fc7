"""Learns the encoder of a source's columns, the classes of its target, and their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from torchlogit.data.block import BLOCK_ROWS, Block, recut
from torchlogit.data.encoding.column_kind import LIMITS, LearningLimits
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.learn_encoder import EncoderOptions, learn_encoder
from torchlogit.data.labels import ClassTotals, LabelLearner
from torchlogit.data.plan import Plan
from torchlogit.data.reading.source import Source
from torchlogit.data.weights import no_weight, weights_in
from torchlogit.data.wording import suggestion
from torchlogit.errors import DataError, errors_at


@dataclass(frozen=True, slots=True)
class LearnedTable:
    """The encoder, learned from the training rows; the classes; and warnings, one sentence each.

    The classes are those of all rows, held out or not; their counts and weights are those of the training rows.
    """

    encoder: Encoder
    classes: ClassTotals
    warnings: tuple[str, ...]


def learn_table(
    source: Source,
    options: EncoderOptions,
    plan: Plan,
    limits: LearningLimits = LIMITS,
    block_rows: int = BLOCK_ROWS,
) -> LearnedTable:
    """Learns the encoder from all columns except the target and the weight, and the classes with their weights.

    The source is read once; columns that looked numeric and then turned out to hold text are read a second time. Raises
    DataError, which names the file and, where it is known, the row, for rows that cannot be used.
    """
    with errors_at(source.files):
        _refuse_lacking(source.column_names, plan)
        reader = _TrainingRowReader(source, plan, block_rows)
        names = [name for name in source.column_names if name not in plan.own_columns]
        encoder, warnings = learn_encoder(reader.blocks, names, options, limits)
    assert reader.totals is not None
    return LearnedTable(encoder, reader.totals, (*reader.warnings, *warnings))


def _refuse_lacking(columns: Sequence[str], plan: Plan) -> None:
    for what, name in (("target", plan.target), ("weight", plan.weight)):
        if name is not None and name not in columns:
            raise DataError(f"there is no {what} column {name!r}; {suggestion(name, columns)}")


class _TrainingRowReader:
    """Reads the training rows of a source. The first reading also learns the classes and their weights."""

    def __init__(self, source: Source, plan: Plan, block_rows: int) -> None:
        self.source, self.plan, self.block_rows = source, plan, block_rows
        self.mask = plan.training_mask
        self.totals: ClassTotals | None = None
        self.warnings: list[str] = []

    def blocks(self, names: Sequence[str]) -> Iterator[Block]:
        """The training rows, with the columns of these names."""
        rows = self._first_reading(names) if self.totals is None else self._second_reading(names)
        return rows if self.mask is None else recut(rows, self.block_rows)

    def _sampled(self, names: Sequence[str]) -> Iterator[Block]:
        """The source's blocks, up to the row limit `plan.sample_rows`."""
        stop = self.plan.sample_rows
        for block in self.source.blocks(names, self.block_rows):
            end = block.first + len(block)
            if stop is None or end < stop or (end == stop and block.last):
                yield block
                continue
            if self.totals is None:
                self.warnings.append(f"learned from the first {stop:,} rows alone, as asked for")
            yield replace(block.between(0, stop - block.first), last=True)
            return

    def _mask_of(self, block: Block) -> NDArray[np.bool_]:
        """A mask of the block's training rows."""
        return np.ones(len(block), np.bool_) if self.mask is None else self.mask(block.first, len(block))

    def _first_reading(self, names: Sequence[str]) -> Iterator[Block]:
        """Yields the training rows. Checks the labels and weights of all rows, and their totals at the last block."""
        name, labels, has_weight = self.plan.weight, LabelLearner(self.plan.target, self.plan.positive), False
        for block in self._sampled([*self.plan.own_columns, *names]):
            mask = self._mask_of(block)
            with block.locating_errors():
                weight = None if name is None else weights_in(block.table, name)
                labels.update(block, mask, weight)
            has_weight = has_weight or (weight is not None and bool(weight.any()))
            if block.last:
                self.totals = labels.result()
                if name is not None and not has_weight:
                    raise no_weight(name)
                _refuse_empty_class(self.totals)
            yield block.select(names).where(mask)

    def _second_reading(self, names: Sequence[str]) -> Iterator[Block]:
        for block in self._sampled(names):
            yield block.where(self._mask_of(block))


def _refuse_empty_class(totals: ClassTotals) -> None:
    """Raises DataError for a class without training weight: all its rows are held out, or have weight 0."""
    if not totals.weight.all():
        empty = totals.classes[int(np.argmin(totals.weight))]
        raise DataError(
            f"class {empty!r} has no row of positive weight to train on; "
            f"give it some, hold out fewer rows, or leave the class out"
        )
