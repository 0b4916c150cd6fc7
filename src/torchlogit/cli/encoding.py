"""A source's rows as a model's features, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import click

from torchlogit.cli.ahead import ahead
from torchlogit.cli.notices import merged
from torchlogit.cli.pieces import Piece, piece_rows, pieces
from torchlogit.cli.tables import located

if TYPE_CHECKING:
    from torchlogit.data.features import Matrix
    from torchlogit.data.source import Source
    from torchlogit.model import LogisticModel

T = TypeVar("T")


@dataclass(slots=True)
class Encoding:
    """A model's way through a source, and what deserved a look on it."""

    model: LogisticModel
    source: Source
    also: Sequence[str] = ()  # columns to read besides the model's
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from torchlogit.errors import InputError

        if self.model.encoder is None:
            raise InputError("the model was trained on an array, not on a table; use it from Python")

    def map(self, job: Callable[[Piece, Matrix], T]) -> Generator[T, None, None]:
        """What the job makes of each piece and its features, in order; reading, this and what follows overlap."""
        return ahead(self._encoded(job))

    def tell(self) -> None:
        """Says on standard error what deserves a look, once for all rows."""
        for notice in (*self.source.notices, *(f"{self.source.files}: {notice}" for notice in self.notices)):
            click.echo(f"torchlogit: {notice}", err=True)

    def _encoded(self, job: Callable[[Piece, Matrix], T]) -> Generator[T, None, None]:
        encoder = self.model.encoder
        assert encoder is not None
        with closing(ahead(pieces(self.source.blocks(columns=self._columns()), piece_rows(self.model)))) as read:
            for piece in read:
                with located(piece.origin):
                    encoded = encoder.encode(piece.table)
                    made = job(piece, encoded.values)
                self.notices = merged([*self.notices, *encoded.notices])
                yield made

    def _columns(self) -> list[str] | None:
        """Those that are needed; all, where one of them is lacking, so that messages can say which there are."""
        assert self.model.encoder is not None
        schema = self.model.encoder.schema_
        crosses = {f"{first}:{second}" for first, second in schema.crosses}
        needed = {column.name for column in schema.columns} - crosses | {*self.also}
        needed |= {name for cross in schema.crosses for name in cross}
        there = self.source.column_names
        return [name for name in there if name in needed] if needed <= {*there} else None
