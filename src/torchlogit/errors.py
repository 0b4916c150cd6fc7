"""Every error and warning that torchlogit raises on purpose.

    TorchlogitError
    ├── InputError (ValueError)            what was given cannot be used
    │   ├── DataError                      a table or array: column and row where there is one
    │   ├── ModelFileError                 a file that is not a model we can read
    │   └── CheckpointError                a checkpoint that this fit cannot go on from
    ├── DivergedError                      an explicit learning rate drove the coefficients out of range
    └── MissingExtraError (ImportError)    an optional package is absent; names the extra

    TorchlogitWarning (UserWarning)        the work goes on; something deserves a look

A message is one line: what was given, what was expected, what to do.
"""

from __future__ import annotations


class TorchlogitError(Exception):
    """The root of the tree: catch this to catch everything torchlogit raises on purpose."""


class InputError(TorchlogitError, ValueError):
    """What was given cannot be used."""


class DataError(InputError):
    """A table or array cannot be used; `column` and `row` say where, when one place is to blame.

    `row` is the index into the table that was handed over, from 0. Whoever read that table from
    files knows which file the row came from, and says so with `located`, once.
    """

    def __init__(
        self, message: str, *, column: str | None = None, row: int | None = None, place: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.column = column
        self.row = row
        self.place = place

    def __str__(self) -> str:
        return self.message if self.row is None else f"{self.message} (row {self.row}, counted from 0)"

    def located(self, place: str) -> DataError:
        """The same error, with the place (a file, or a file and its row) put before the message, if it has none yet."""
        return self if self.place else DataError(f"{place}: {self.message}", column=self.column, place=place)

    def named(self, place: str) -> DataError:
        """The same error, whose message tells its place already."""
        return DataError(self.message, column=self.column, place=place)


class ModelFileError(InputError):
    """A file is not a torchlogit model, is damaged, or comes from a later version."""


class CheckpointError(InputError):
    """A checkpoint is damaged, or is of another fit, and cannot be gone on from."""


class DivergedError(TorchlogitError):
    """A solver with an explicit learning rate left the range of floats; names the batch and the rate."""


class MissingExtraError(TorchlogitError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""


class TorchlogitWarning(UserWarning):
    """The work goes on; something deserves a look."""
