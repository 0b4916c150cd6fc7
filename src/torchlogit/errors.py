"""All errors and warnings that torchlogit raises on purpose.

    TorchlogitError
    ├── InputError (ValueError)            an argument, a table or a file cannot be used
    │   ├── DataError                      a table or an array; names the column and the row
    │   ├── ModelFileError                 a model file
    │   └── CheckpointError                a checkpoint from which this fit cannot resume
    ├── DivergedError                      an explicit learning rate was too large: the coefficients overflowed
    └── MissingExtraError (ImportError)    an optional package is not installed

    TorchlogitWarning (UserWarning)        the work continues, but the result may not be what was intended

A message is one line: what was given, what was expected, what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class TorchlogitError(Exception):
    """Base class of all errors that torchlogit raises on purpose."""


class InputError(TorchlogitError, ValueError):
    """An argument, a table or a file cannot be used."""


class DataError(InputError):
    """A table or an array cannot be used.

    Parameters
    ----------
    message
        What was given, what was expected and what to do; one line.
    column
        Name of the column at fault, if it is one column.
    row
        Index, from 0, of the row at fault in a table in memory, if it is one row.
    place
        The file at fault, or the file and its row, as in "a.csv row 2", if the message names it.
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

    def at(self, file: str | None, row: int | None = None) -> DataError:
        """The same error with the file and, if given, the row (counted from 0) before the message.

        If `file` is None, the table is in memory. An error whose message already names a file is returned unchanged.
        """
        if self.place is not None:
            return self
        if file is None:
            return DataError(self.message, column=self.column, row=row)
        place = file if row is None else f"{file} row {row + 1}"
        return DataError(f"{place}: {self.message}", column=self.column, place=place)


@contextmanager
def errors_at(files: str) -> Iterator[None]:
    """Adds the names of files to a DataError that is raised inside, unless its message already names a file."""
    try:
        yield
    except DataError as error:
        raise error.at(files) from None


class ModelFileError(InputError):
    """A file is not a torchlogit model, is damaged, or was written by a later version."""


class CheckpointError(InputError):
    """A checkpoint is damaged, or belongs to another fit: this fit cannot resume from it."""


class DivergedError(TorchlogitError):
    """Coefficients overflowed with an explicit learning rate; the message names the batch and the rate."""


class MissingExtraError(TorchlogitError, ImportError):
    """An optional package is not installed; the message names the extra that installs it."""


class TorchlogitWarning(UserWarning):
    """The work continues, but the result may not be what was intended."""
