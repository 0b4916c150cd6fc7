"""Rows of a SQL query, run by DuckDB over files, or over a database that the query attaches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pyarrow as pa

from torchlogit.data.reading.reader import Naming
from torchlogit.data.wording import one_line
from torchlogit.errors import DataError, MissingExtraError

PREFIX = "sql:"  # a name that begins with it is a query, not a file
DISPLAY_NAME = "the query"
_BATCH_ROWS = 1 << 16  # rows that DuckDB returns at a time; more take more memory


def open_sql(query: str, naming: Naming) -> SqlReader:
    """A reader of the query. Its columns are found by running it with LIMIT 0."""
    with _running(query) as relation:
        found = relation.limit(0).to_arrow_table().schema
    return SqlReader(query, naming.schema(DISPLAY_NAME, found))


@dataclass(frozen=True, slots=True)
class SqlReader:
    """Runs a query again each time its rows are read; the rows must come in the same order each time.

    DuckDB keeps the order of the rows of a file. The result of a GROUP BY or a JOIN has a fixed order only with an
    ORDER BY.
    """

    query: str
    schema: pa.Schema
    target: None = None
    warnings: tuple[str, ...] = ()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        with _running(self.query) as relation:
            for batch in relation.to_arrow_reader(_BATCH_ROWS):
                yield pa.Table.from_batches([batch]).rename_columns(self.schema.names).select(columns)


@contextlib.contextmanager
def _running(query: str) -> Iterator[Any]:
    """Runs all statements except the last, and yields the last as a DuckDB relation; errors become a DataError."""
    duckdb = _duckdb()
    try:
        with duckdb.connect() as connection:
            statements = connection.extract_statements(query)
            if not statements or statements[-1].type != duckdb.StatementType.SELECT:
                remedy = "let it end in a SELECT, such as SELECT * FROM 'a.parquet'"
                raise DataError(f"{DISPLAY_NAME} gives no rows; {remedy}")
            for statement in statements[:-1]:
                connection.execute(statement)
            yield connection.sql(statements[-1].query)
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise DataError(f"{DISPLAY_NAME} failed: {one_line(str(error))}") from None


def _duckdb() -> ModuleType:
    try:
        import duckdb
    except ImportError:
        raise MissingExtraError("sql: queries need DuckDB; install it with pip install 'torchlogit[sql]'") from None
    found: ModuleType = duckdb
    return found
