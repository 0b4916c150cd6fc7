"""What a reader of one file is, and what the readers share: names of columns, rows passed over."""

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
    """How columns get their names: `names` take the place of those in the file; whether there is a header."""

    names: tuple[str, ...] | None = None
    has_header: bool = True

    def of(self, display_name: str, found: Sequence[str]) -> list[str]:
        """The columns' names, each once and not empty, or DataError."""
        if self.names is not None and len(self.names) != len(found):
            raise DataError(
                f"{display_name} has {len(found)} columns and {len(self.names)} names were given; "
                f"give one name per column"
            )
        result = [name.strip() for name in (found if self.names is None else self.names)]
        if "" in result:
            raise DataError(f"{display_name}: column {result.index('') + 1} has no name; {_NAME_IT}")
        refuse_repeated(display_name, result, _NAME_IT)
        return result


class Reader(Protocol):
    """One file, opened as far as its columns are known."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns, as the file has them."""
        ...

    @property
    def target(self) -> str | None:
        """The target column that the format has of its own."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What deserves a look, as far as it has been read."""
        ...

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """All rows in order, as tables of any number of rows with these columns in this order."""
        ...


def refuse_repeated(where: str, names: Iterable[str], remedy: str) -> None:
    """DataError where a name occurs twice."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(f"{where}: more than one column is called {examples(repeated)}; {remedy}")


def without_pandas_index(table: pa.Table) -> pa.Table:
    """The table without the columns that pandas keeps its index in."""
    kept_by_pandas = (table.schema.pandas_metadata or {}).get("index_columns", [])
    index = [name for name in kept_by_pandas if isinstance(name, str) and name in table.column_names]
    return table.drop_columns(index) if index else table
