"""Rows on their way through a command, in pieces that do not depend on how they were read.

Sums run over pieces of the same rows, counted from the first, whatever the size of the blocks that a source reads: so
answers have the same bits, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from torchlogit.data.source import Block
    from torchlogit.data.tables import Origin
    from torchlogit.model import LogisticModel

MOST_ROWS = 1 << 16
MOST_VALUES = 1 << 23  # of the features of a piece, and of its predictions: 32 and 64 MiB


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of a source, and where they came from."""

    table: pa.Table
    origin: Origin


def piece_rows(model: LogisticModel) -> int:
    """How many rows a piece has: a power of two that the model alone decides."""
    assert model.encoder is not None
    schema = model.encoder.schema_
    width = int(min(len(model.feature_names), 2 * schema.filled)) + len(model.classes)
    return 1 << (min(MOST_ROWS, max(1, MOST_VALUES // width)).bit_length() - 1)


def pieces(blocks: Iterable[Block], rows: int) -> Iterator[Piece]:
    """The rows of the blocks, cut after every so many, counted from the first."""
    held: list[Block] = []
    lacking = rows
    for block in blocks:
        start = 0
        while start < block.table.num_rows:
            part = _part(block, start, lacking)
            held.append(part)
            start += part.table.num_rows
            lacking -= part.table.num_rows
            if not lacking:
                yield _joined(held)
                held, lacking = [], rows
    if held:
        yield _joined(held)


def _part(block: Block, start: int, most: int) -> Block:
    return replace(block, table=block.table.slice(start, most), first_row=block.first_row + start)


def _joined(parts: list[Block]) -> Piece:
    """One table; parts of the same file are counted as one, so that messages name it once."""
    import pyarrow as pa

    from torchlogit.data.tables import Origin

    names, counts = list[str](), list[int]()
    for part in parts:
        if not names or names[-1] != part.file:
            names.append(part.file)
            counts.append(0)
        counts[-1] += part.table.num_rows
    tables = [part.table for part in parts]
    table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
    return Piece(table, Origin(tuple(names), tuple(counts), parts[0].first_row))
