"""Where the rows that learners of columns see came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torchlogit.errors import DataError


@dataclass(frozen=True, slots=True)
class Place:
    """A row, from 0, of a file; of a table in memory where there is no file."""

    file: str | None
    row: int

    def blamed(self, error: DataError) -> DataError:
        """The error, saying that this row is at fault."""
        if self.file is None:
            return DataError(error.message, column=error.column, row=self.row)
        return error.located(f"{self.file} row {self.row + 1}")


Placed: TypeAlias = Callable[[int], Place]
"""Where a row of a chunk came from."""
