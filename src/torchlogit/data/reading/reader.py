"""The protocol that the readers of all formats follow, and the rules for column names that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from torchlogit.data.wording import examples
from torchlogit.errors import DataError

RENAME = "give each column a name of its own"
_NAME_IT = f"{RENAME}, or say that the file has no header (has_header=False or --no-header)"


@dataclass(frozen=True, slots=True)
class Naming:
    """Where column names come from.

    names: used in place of those in the file, if given. has_header: whether the first row of a CSV file holds names.
    """

    names: tuple[str, ...] | None = None
    has_header: bool = True

    def schema(self, display_name: str, in_file: pa.Schema) -> pa.Schema:
        """The schema `in_file` with the names that its columns get; DataError for an empty or repeated name."""
        if self.names is not None and len(self.names) != len(in_file):
            raise DataError(
                f"{display_name} has {len(in_file)} columns and {len(self.names)} names were given; "
                f"give one name per column"
            )
        names = [name.strip() for name in (in_file.names if self.names is None else self.names)]
        if "" in names:
            raise DataError(f"{display_name}: column {names.index('') + 1} has no name; {_NAME_IT}")
        refuse_repeated(display_name, names, _NAME_IT)
        return pa.schema([field.with_name(name) for field, name in zip(in_file, names, strict=True)])


class Reader(Protocol):
    """An opened file or query whose columns are known."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        ...

    @property
    def target(self) -> str | None:
        """The target column, if the format itself defines one; else None."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about what has been read so far, one sentence each."""
        ...

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows in order, as tables of any number of rows. Each table has these columns, in this order."""
        ...


def refuse_repeated(where: str, names: Iterable[str], remedy: str) -> None:
    """Raise DataError if a name occurs twice. where, remedy: beginning and end of the message."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(f"{where}: more than one column is called {examples(repeated)}; {remedy}")


def without_pandas_index(table: pa.Table) -> pa.Table:
    """The table without the columns in which pandas stores the index of a frame."""
    stored = (table.schema.pandas_metadata or {}).get("index_columns", [])
    index = [name for name in stored if isinstance(name, str) and name in table.column_names]
    return table.drop_columns(index) if index else table
