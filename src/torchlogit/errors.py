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
    """A table or array cannot be used.

    Parameters
    ----------
    message
        What was given, what was expected and what to do; one line.
    column
        The column at fault, if it is one.
    row
        Index, from 0, of the row at fault in the table that was handed over, if it is one row of a table in memory.
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
        """The same error about this row, from 0, of a file; about the file where `row` is None.

        Where `file` is None, `row` is the index in a table in memory. An error that has a place already is returned
        as it is.
        """
        if self.place is not None:
            return self
        if file is None:
            return DataError(self.message, column=self.column, row=row)
        place = file if row is None else f"{file} row {row + 1}"
        return DataError(f"{place}: {self.message}", column=self.column, place=place)


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
