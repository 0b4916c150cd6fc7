"""A source made ready to train on: what it holds is learned in one reading, and its rows are encoded in another.

Encoded rows live in memory where they are few, and in mapped files where they are many; either way they are the same
numbers, in the order of the source. A cache keeps them, and what was learned, for a later process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchlogit.data.block import BLOCK_ROWS, Block
from torchlogit.data.concurrency import prefetched
from torchlogit.data.encoded_rows import EncodedRows, RereadRows, RowWriter, StoredRows
from torchlogit.data.encoding.encoder import Encoder, EncoderOptions
from torchlogit.data.encoding.features import Matrix
from torchlogit.data.encoding.row_warnings import RowWarnings, added, messages
from torchlogit.data.labels import ClassTotals, Label, check_labels
from torchlogit.data.learning import learn_table
from torchlogit.data.plan import Keep, Plan
from torchlogit.data.reading.source import Source
from torchlogit.data.weights import weights_in
from torchlogit.errors import DataError
from torchlogit.storage import NamedArrays


@dataclass(frozen=True, slots=True)
class Prepared:
    """A source's rows: those to train on and those held out, if any; the encoder, fitted to the former, and their
    classes; what deserves a look, one sentence each."""

    encoder: Encoder
    classes: ClassTotals
    train: EncodedRows
    held: EncodedRows | None
    warnings: tuple[str, ...]


def prepare(source: Source, options: EncoderOptions, plan: Plan, arrays: NamedArrays | None) -> Prepared:
    """The rows of a source, ready to train on; DataError, which names file and row, for those that cannot be used.

    arrays: where encoded rows are stored; None: features are not stored, and every pass reads and encodes them again.
    """
    learned = learn_table(source, options, plan)
    encoder = learned.encoder
    kept, held = encode(source, encoder, learned.classes.classes, plan, arrays)
    warnings = [*learned.warnings, *kept.warnings]
    if held is None:
        return Prepared(encoder, learned.classes, kept.rows(), None, tuple(warnings))
    if not held.n_rows:
        which = f"--holdout {plan.holdout:g} takes none of the {kept.n_rows} rows"
        raise DataError(f"{which}; choose another share").at(source.files)
    warnings += [f"held out: {warning}" for warning in held.warnings]
    return Prepared(encoder, learned.classes, kept.rows(), held.rows(), tuple(warnings))


@dataclass(slots=True)
class Reading:
    """One reading of a source's rows, encoded; warnings: of all rows that were encoded so far."""

    source: Source
    encoder: Encoder
    classes: Sequence[Label]
    plan: Plan
    warnings: RowWarnings = ()

    def blocks(self) -> Iterator[Block]:
        """The rows as they are, of the columns that are needed."""
        try:
            yield from prefetched(blocks_of(self.source, self.encoder, self.plan.own_columns))
        except DataError as error:
            raise error.at(self.source.files) from None

    def encoded(self, block: Block) -> EncodedRows:
        """Some of them, encoded."""
        plan = self.plan
        try:
            with block.locating_errors():
                codes = check_labels(block.table, plan.target, self.classes)
                weight = None if plan.weight is None else weights_in(block.table, plan.weight)
                encoded = self.encoder.encode(block.table)
        except DataError as error:
            raise error.at(self.source.files) from None
        self.warnings = added(self.warnings, encoded.warnings) if self.warnings else encoded.warnings
        return EncodedRows(encoded.values, codes, weight)


@dataclass(slots=True)
class Part:
    """Encoded rows on their way to where they are kept, and what deserves a look in them."""

    reading: Reading
    writer: RowWriter
    n_rows: int = 0

    def append(self, block: Block) -> None:
        """Encodes and adds some rows."""
        if len(block):
            self.writer.append(self.reading.encoded(block))
            self.n_rows += len(block)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence each."""
        return messages(self.reading.warnings)

    def rows(self) -> EncodedRows:
        """All that were added."""
        return self.writer.rows()


def encode(
    source: Source, encoder: Encoder, classes: Sequence[Label], plan: Plan, arrays: NamedArrays | None
) -> tuple[Part, Part | None]:
    """The rows to train on and those held out, encoded in one reading.

    Without arrays, every pass over their features reads and encodes the source again.
    """
    keep = plan.keep

    def part(name: str, chosen: Keep | None) -> Part:
        return Part(Reading(source, encoder, classes, plan), _writer(source, encoder, plan, arrays, name, chosen))

    kept = part("train", keep)
    held = None if keep is None else part("held", lambda first, n: ~keep(first, n))
    for block in kept.reading.blocks():
        chosen = None if keep is None else keep(block.first, len(block))
        kept.append(block if chosen is None else block.where(chosen))
        if held is not None and chosen is not None:
            held.append(block.where(~chosen))
    return kept, held


def _writer(
    source: Source, encoder: Encoder, plan: Plan, arrays: NamedArrays | None, name: str, keep: Keep | None
) -> RowWriter:
    weighted = plan.weight is not None
    if arrays is not None:
        return StoredRows(arrays, name, encoder.n_features, encoder.is_sparse, weighted)

    def read() -> Iterator[Matrix]:
        for block in prefetched(blocks_of(source, encoder, ())):
            part = block if keep is None else block.where(keep(block.first, len(block)))
            if len(part):
                yield encoder.encode(part.table).values

    return RereadRows(read, encoder.n_features, weighted)


def blocks_of(source: Source, encoder: Encoder, also: Sequence[str], rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """The source's rows, of the columns that the encoder needs and these.

    Of all columns, where some are not there, so that whoever looks for them can say what there is.
    """
    schema = encoder.schema
    crosses = {f"{first}:{second}" for first, second in schema.crosses}
    needed = {column.name for column in schema.columns} - crosses | {*also}
    needed |= {name for cross in schema.crosses for name in cross}
    there = source.column_names
    columns = [name for name in there if name in needed] if needed <= {*there} else None
    return source.blocks(columns, rows)
