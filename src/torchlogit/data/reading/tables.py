"""Tables that fit in memory: files and frames read into Arrow.

A CSV column is always read as text. What it holds is decided later, over all its rows: a guess made
from the first block, which is what CSV readers do, fails on the row that proves it wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from torchlogit.data.reading.file_source import open_source
from torchlogit.data.reading.formats import format_of
from torchlogit.data.reading.origin import Origin
from torchlogit.data.reading.reader import RENAME, refuse_repeated, without_pandas_index
from torchlogit.data.wording import one_line
from torchlogit.errors import DataError

__all__ = ["LoadedTable", "Origin", "own_target", "read_table", "table_from"]

_ALL = 1 << 62  # rows in a block: a file is one


@dataclass(frozen=True, slots=True)
class LoadedTable:
    """A table read from files, where its rows came from, and what deserves a look, one sentence each."""

    table: pa.Table
    origin: Origin
    notices: tuple[str, ...] = ()


def read_table(
    paths: Sequence[str | Path], *, names: Sequence[str] | None = None, has_header: bool = True
) -> LoadedTable:
    """The rows of all the files, one file after the other, and where each row came from.

    The paths, `names` and `has_header` are those of `open_source`, and so are the errors.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "people.csv")
    >>> _ = path.write_text("age,job\\n39,clerk\\n50,?\\n")
    >>> loaded = read_table([path])
    >>> loaded.table.to_pydict()
    {'age': ['39', '50'], 'job': ['clerk', '?']}
    >>> loaded.origin.place(1)
    'people.csv row 2'
    >>> folder.cleanup()
    """
    source = open_source(paths, names=names, has_header=has_header, block_rows=_ALL)
    blocks = list(source.blocks())
    origin = Origin(tuple(block.file for block in blocks), tuple(block.table.num_rows for block in blocks))
    return LoadedTable(pa.concat_tables([block.table for block in blocks]), origin, source.notices)


def own_target(paths: Sequence[str | Path]) -> str | None:
    """The target column that the files' format has, where their names tell of one: the label of svmlight files.

    >>> own_target(["a9a.svm"]), own_target(["people.csv"])
    ('label', None)
    """
    files = [file for path in map(Path, paths) for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    formats = [format_of(file.name) for file in files]
    return next((each.target for each in formats if each is not None and each.target), None)


def table_from(X: object) -> pa.Table:
    """`X` as a pyarrow.Table: a table, a pandas or polars frame, anything Arrow can read, {name: values}, or a file.

    A pandas index is left out. Raises DataError for anything else, and for names that occur twice.

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
        own = own_target([X])
        return read_table([X]).table.drop_columns([own] if own else [])
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
