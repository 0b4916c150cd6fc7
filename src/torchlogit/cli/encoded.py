"""The rows of a source, encoded for a model block by block."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import click

from torchlogit.cli.measuring import block_rows
from torchlogit.data.block import Block
from torchlogit.data.concurrency import prefetched
from torchlogit.data.encoding.features import Matrix
from torchlogit.data.encoding.row_warnings import RowWarnings, added, messages
from torchlogit.data.preparation import blocks_of
from torchlogit.data.reading.source import Source
from torchlogit.errors import InputError, errors_at
from torchlogit.model import LogisticModel

T = TypeVar("T")


@dataclass(slots=True)
class EncodedBlocks:
    """The blocks of a source, encoded for a model.

    also: columns to read in addition to those of the model. warnings: those about the blocks encoded so far.
    """

    model: LogisticModel
    source: Source
    also: Sequence[str] = ()
    warnings: RowWarnings = ()

    def __post_init__(self) -> None:
        if self.model.encoder is None:
            raise InputError("the model was trained on an array, not on a table; use it from Python")

    def map(self, job: Callable[[Block, Matrix], T]) -> Generator[T, None, None]:
        """job(block, features) for each block, in order; reading, encoding and the caller's work overlap."""
        return prefetched(self._encoded(job))

    def print_warnings(self) -> None:
        """Prints the warnings on standard error, one line per kind of warning, with the number of rows."""
        for warning in (*self.source.warnings, *(f"{self.source.files}: {one}" for one in messages(self.warnings))):
            click.echo(f"torchlogit: {warning}", err=True)

    def _encoded(self, job: Callable[[Block, Matrix], T]) -> Generator[T, None, None]:
        encoder = self.model.encoder
        assert encoder is not None
        blocks = prefetched(blocks_of(self.source, encoder, self.also, block_rows(self.model)))
        with errors_at(self.source.files), closing(blocks):
            for block in blocks:
                with block.locating_errors():
                    encoded = encoder.encode(block.table)
                    result = job(block, encoded.values)
                self.warnings = added(self.warnings, encoded.warnings)
                yield result
