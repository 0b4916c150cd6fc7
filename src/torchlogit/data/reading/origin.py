"""Where the rows of a table came from, so that messages can say it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Which file each row of a table came from: `names` of the files, and how many `rows` each gave.

    first: the index, in its file, of the table's first row.

    >>> origin = Origin(names=("a.csv", "b.csv"), rows=(10, 5))
    >>> origin.place(9), origin.place(10), origin.files
    ('a.csv row 10', 'b.csv row 1', 'a.csv, b.csv')
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    first: int = 0

    def place(self, row: int) -> str:
        """The file and the row in it (from 1, header not counted) of one row of the table (from 0)."""
        in_file, before = row, self.first
        for name, count in zip(self.names, self.rows, strict=True):
            if 0 <= in_file < count:
                return f"{name} row {before + in_file + 1}"
            in_file, before = in_file - count, 0
        raise IndexError(f"row {row} of a table of {sum(self.rows)} rows")

    @property
    def files(self) -> str:
        """The names of the files, the first three of them where there are more."""
        more = len(self.names) - 3
        return ", ".join(self.names[:3]) + (f" and {more} more" if more > 0 else "")
