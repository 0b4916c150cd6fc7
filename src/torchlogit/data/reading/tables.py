"""Tables in memory: files, frames and dictionaries of columns as pyarrow tables.

A CSV column is always read as text. Whether it is numeric or categorical is decided later, from all its rows: a reader
that infers a type from the first block fails on the first later row that contradicts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from torchlogit.data.reading.reader import RENAME, refuse_repeated, without_pandas_index
from torchlogit.data.reading.source import open_source
from torchlogit.data.wording import one_line
from torchlogit.errors import DataError


def table_from(X: object) -> pa.Table:
    """A table as a pyarrow.Table, without its pandas index.

    `X` may be a pyarrow.Table or RecordBatch, a pandas or polars frame, any other object of the Arrow protocol, a
    dictionary of columns, or the path of a file (the label column of a svmlight file is left out). DataError for
    anything else, and for names that occur twice.

    >>> table_from({"age": [39, 50], "job": ["clerk", None]}).column_names
    ['age', 'job']
    """
    try:
        table = _arrow_table(X)
    except (pa.ArrowException, ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        reason = one_line(" ".join(map(str, error.args)))
        raise DataError(f"the table cannot be read: {reason}; give columns of one type each") from None
    refuse_repeated("the table", table.column_names, RENAME)
    return without_pandas_index(table)


def _arrow_table(X: object) -> pa.Table:
    if isinstance(X, str | Path):
        source = open_source([X])
        return source.read().table.drop_columns([source.target] if source.target else [])
    if isinstance(X, pa.Table):
        return X
    if isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    if hasattr(X, "__arrow_c_stream__"):
        refuse_repeated("the table", map(str, getattr(X, "columns", ())), RENAME)
        return pa.table(X)
    if isinstance(X, Mapping):
        return pa.table(dict(X))
    raise DataError(
        f"expected a table with named columns (a pandas, polars or Arrow table, or a dict of columns) and got "
        f"{type(X).__module__}.{type(X).__qualname__}; name the columns, for example pandas.DataFrame(X, columns=[...])"
    )
