"""Prepares a source for training: a first reading learns the encoder and the classes, a second one encodes the rows.

A small number of encoded rows is held in RAM, a large number in memory-mapped files: the same numbers, in the order of
the source. A cache (cache.py) saves the rows, the encoder and the classes for a later process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchlogit.data.block import BLOCK_ROWS, Block
from torchlogit.data.concurrency import prefetched
from torchlogit.data.encoded_rows import EncodedRows, RereadRows, RowWriter, StoredRows
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.features import Matrix
from torchlogit.data.encoding.learn_encoder import EncoderOptions
from torchlogit.data.encoding.row_warnings import RowWarnings, added, messages
from torchlogit.data.labels import ClassTotals, Label, check_labels
from torchlogit.data.learn_table import learn_table
from torchlogit.data.plan import Plan, TrainingMask
from torchlogit.data.reading.source import Source
from torchlogit.data.weights import weights_in
from torchlogit.errors import DataError, errors_at
from torchlogit.storage import NamedArrays


@dataclass(frozen=True, slots=True)
class Prepared:
    """A source's encoded training rows and held-out rows, the encoder, the classes and the warnings.

    The encoder and the counts of the classes come from the training rows only. held_out: None if no rows are held out.
    warnings: one sentence each.
    """

    encoder: Encoder
    classes: ClassTotals
    train: EncodedRows
    held_out: EncodedRows | None
    warnings: tuple[str, ...]


def prepare(source: Source, options: EncoderOptions, plan: Plan, arrays: NamedArrays | None) -> Prepared:
    """Learns the encoder and the classes from a source, and encodes its rows.

    arrays: where encoded rows are stored. If it is None, features are not stored, and every pass reads and encodes the
    source again. Raises DataError, which names file and row, for rows that cannot be used.
    """
    learned = learn_table(source, options, plan)
    encoder = learned.encoder
    train, held_out = encode(source, encoder, learned.classes.classes, plan, arrays)
    warnings = [*learned.warnings, *train.warnings]
    if held_out is None:
        return Prepared(encoder, learned.classes, train.rows(), None, tuple(warnings))
    if not held_out.n_rows:
        which = f"--holdout {plan.holdout:g} takes none of the {train.n_rows} rows"
        raise DataError(f"{which}; choose another share").at(source.files)
    warnings += [f"held out: {warning}" for warning in held_out.warnings]
    return Prepared(encoder, learned.classes, train.rows(), held_out.rows(), tuple(warnings))


@dataclass(slots=True)
class RowEncoder:
    """Reads a source and encodes its rows, block by block. warnings: those about all rows encoded so far."""

    source: Source
    encoder: Encoder
    classes: Sequence[Label]
    plan: Plan
    warnings: RowWarnings = ()

    def blocks(self) -> Iterator[Block]:
        """The source's rows, not yet encoded, with the columns that encoding needs."""
        with errors_at(self.source.files):
            yield from prefetched(blocks_of(self.source, self.encoder, self.plan.own_columns))

    def encoded(self, block: Block) -> EncodedRows:
        """A block's rows, encoded."""
        plan = self.plan
        with errors_at(self.source.files), block.locating_errors():
            codes = check_labels(block.table, plan.target, self.classes)
            weight = None if plan.weight is None else weights_in(block.table, plan.weight)
            encoded = self.encoder.encode(block.table)
        self.warnings = added(self.warnings, encoded.warnings)
        return EncodedRows(encoded.values, codes, weight)


@dataclass(slots=True)
class EncodingWriter:
    """Encodes blocks and writes their rows."""

    encoder: RowEncoder
    writer: RowWriter
    n_rows: int = 0

    def append(self, block: Block) -> None:
        """Encodes a block and writes its rows."""
        if len(block):
            self.writer.append(self.encoder.encoded(block))
            self.n_rows += len(block)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of all rows, one sentence each."""
        return messages(self.encoder.warnings)

    def rows(self) -> EncodedRows:
        """All rows that were written."""
        return self.writer.rows()


def encode(
    source: Source, encoder: Encoder, classes: Sequence[Label], plan: Plan, arrays: NamedArrays | None
) -> tuple[EncodingWriter, EncodingWriter | None]:
    """Encodes the training rows and the held-out rows, if any, in one reading.

    Without arrays, every pass over their features reads and encodes the source again.
    """
    training_mask = plan.training_mask

    def writer(name: str, mask: TrainingMask | None) -> EncodingWriter:
        rows = _row_writer(source, encoder, plan, arrays, name, mask)
        return EncodingWriter(RowEncoder(source, encoder, classes, plan), rows)

    train = writer("train", training_mask)
    held_out = None if training_mask is None else writer("held_out", lambda first, n: ~training_mask(first, n))
    for block in train.encoder.blocks():
        if training_mask is None or held_out is None:
            train.append(block)
            continue
        is_train = training_mask(block.first, len(block))
        train.append(block.where(is_train))
        held_out.append(block.where(~is_train))
    return train, held_out


def _row_writer(
    source: Source, encoder: Encoder, plan: Plan, arrays: NamedArrays | None, name: str, mask: TrainingMask | None
) -> RowWriter:
    weighted, dtype = plan.weight is not None, encoder.schema.dtype
    if arrays is not None:
        return StoredRows(arrays, name, encoder.n_features, encoder.is_sparse, weighted, dtype)

    def read() -> Iterator[Matrix]:
        for block in prefetched(blocks_of(source, encoder, ())):
            part = block if mask is None else block.where(mask(block.first, len(block)))
            if len(part):
                yield encoder.encode(part.table).values

    return RereadRows(read, encoder.n_features, weighted, dtype)


def blocks_of(source: Source, encoder: Encoder, also: Sequence[str], rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """The source's rows, with the columns that the encoder needs and those named in `also`.

    If a column is missing, all columns are read, so that the later error about it can list the columns that exist.
    """
    needed, names = {*encoder.schema.inputs, *also}, source.column_names
    columns = [name for name in names if name in needed] if needed <= {*names} else None
    return source.blocks(columns, rows)
