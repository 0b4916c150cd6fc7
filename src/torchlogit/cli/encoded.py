"""A source's rows as a model's features, block by block."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import click

from torchlogit.cli.measuring import block_rows

if TYPE_CHECKING:
    from torchlogit.data.block import Block
    from torchlogit.data.encoding.features import Matrix
    from torchlogit.data.encoding.row_warnings import RowWarnings
    from torchlogit.data.reading.source import Source
    from torchlogit.model import LogisticModel

T = TypeVar("T")


@dataclass(slots=True)
class Encoding:
    """A model's way through a source, and what deserved a look on it."""

    model: LogisticModel
    source: Source
    also: Sequence[str] = ()  # columns to read besides the model's
    warnings: RowWarnings = ()

    def __post_init__(self) -> None:
        from torchlogit.errors import InputError

        if self.model.encoder is None:
            raise InputError("the model was trained on an array, not on a table; use it from Python")

    def map(self, job: Callable[[Block, Matrix], T]) -> Generator[T, None, None]:
        """What the job makes of each block and its features, in order; reading, this and what follows overlap."""
        from torchlogit.data.concurrency import prefetched

        return prefetched(self._encoded(job))

    def tell(self) -> None:
        """Says on standard error what deserves a look, once for all rows."""
        from torchlogit.data.encoding.row_warnings import messages

        for warning in (*self.source.warnings, *(f"{self.source.files}: {one}" for one in messages(self.warnings))):
            click.echo(f"torchlogit: {warning}", err=True)

    def _encoded(self, job: Callable[[Block, Matrix], T]) -> Generator[T, None, None]:
        from torchlogit.data.concurrency import prefetched
        from torchlogit.data.encoding.row_warnings import added
        from torchlogit.data.preparation import blocks_of
        from torchlogit.errors import DataError

        encoder = self.model.encoder
        assert encoder is not None
        try:
            with closing(prefetched(blocks_of(self.source, encoder, self.also, block_rows(self.model)))) as read:
                for block in read:
                    with block.locating_errors():
                        encoded = encoder.encode(block.table)
                        made = job(block, encoded.values)
                    self.warnings = added(self.warnings, encoded.warnings) if self.warnings else encoded.warnings
                    yield made
        except DataError as error:
            raise error.at(self.source.files) from None
