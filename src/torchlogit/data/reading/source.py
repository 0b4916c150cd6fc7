"""A source: the rows of files, folders, globs, pipes and queries, one after the other, in blocks.

A source is read several times: to learn the columns, to encode the rows, and, without a cache, once per training pass.
Every reading returns the same rows in the same order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from torchlogit.data.block import BLOCK_ROWS, Block, FileRows, joined, recut
from torchlogit.data.reading.bytes import DiskFile, Input, cannot_be_read
from torchlogit.data.reading.formats import KNOWN, Format, format_of, format_within
from torchlogit.data.reading.paths import display_names, expanded
from torchlogit.data.reading.pipes import Spool, is_pipe, pipe, standard_input
from torchlogit.data.reading.reader import Naming, Reader
from torchlogit.data.reading.schemas import common_schema
from torchlogit.data.reading.sql import DISPLAY_NAME, PREFIX, open_sql
from torchlogit.data.wording import suggestion
from torchlogit.errors import DataError, InputError


def open_source(data: Sequence[str | Path], *, names: Sequence[str] | None = None, has_header: bool = True) -> Source:
    """Open files, standard input or queries as one source of rows.

    CSV columns are text, UTF-8; those of other formats keep their types. A svmlight file has two columns, `label` and
    `f`, the latter of sparse vectors. All files must have the same columns, in any order.

    Parameters
    ----------
    data
        Each is a file (.csv, .tsv, .jsonl, .svm, .libsvm, .svmlight, each also .gz or .zst; .parquet, .arrow,
        .feather), a glob or a folder of files, read in the order of their names, `-` for standard input, a pipe, or
        `sql:SELECT ...`, run by DuckDB.
    names
        Names of the columns, in place of those in the files.
    has_header
        Whether the first row of CSV files holds the columns' names. If it does not, and `names` is not given, the
        columns are called column_1, column_2, ...

    Raises
    ------
    DataError
        If the input cannot be read; the message names the file and the row. Faults that appear only when all rows are
        read are raised by `Source.blocks`.
    MissingExtraError
        For a query where DuckDB is not installed.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> for name, text in [("b.csv", "age,job\\n20,smith\\n"), ("a.csv", "age,job\\n39,clerk\\n50,?\\n")]:
    ...     _ = Path(folder.name, name).write_text(text)
    >>> source = open_source([folder.name])
    >>> for block in source.blocks(rows=2):
    ...     block.table.to_pydict(), block.location(0), block.last
    ({'age': ['39', '50'], 'job': ['clerk', '?']}, Location(file='a.csv', row=0), False)
    ({'age': ['20'], 'job': ['smith']}, Location(file='b.csv', row=0), True)
    >>> [block.table.to_pydict() for block in source.blocks(columns=["age"])]
    [{'age': ['39', '50', '20']}]
    >>> folder.cleanup()
    """
    if not data:
        raise DataError(f"no file was given; give at least one of {KNOWN}")
    naming = Naming(None if names is None else tuple(names), has_header)
    inputs = tuple(_opened(data, naming))
    return Source(inputs, common_schema([(each.display_name, each.reader.schema) for each in inputs]))


@dataclass(frozen=True, slots=True)
class _Opened:
    """An opened file, pipe or query.

    input: its bytes; None for a query. fingerprint: for a file, that at the time of opening; for a query, its text; for
    a pipe "", since its fingerprint is known only when all of it has been read.
    """

    display_name: str
    reader: Reader
    input: Input | None
    fingerprint: str

    def refuse_changed(self) -> None:
        """DataError if the file has changed since it was opened, or is gone."""
        if isinstance(self.input, DiskFile):
            with cannot_be_read(self.input):
                now = self.input.fingerprint()
            if now != self.fingerprint:
                raise DataError(
                    f"{self.display_name} has changed since it was first read; start again with the file at rest"
                )

    def blocks(self, schema: pa.Schema) -> Iterator[Block]:
        """The rows in blocks of the reader's own sizes, with the columns and types of `schema`."""
        row = 0
        try:
            self.refuse_changed()
            for table in self.reader.tables(schema.names):
                if table.num_rows:
                    end = row + table.num_rows
                    yield Block(_of_type(table, schema), (FileRows(self.display_name, range(row, end)),))
                    row = end
            self.refuse_changed()
            if row == 0:
                raise DataError(f"{self.display_name} has column names and no rows; give a file with rows")
        except DataError as error:  # readers name the file in their messages
            raise DataError(error.message, column=error.column, place=self.display_name) from None


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of files that can be read repeatedly, opened by `open_source`.

    inputs: the files, pipes and queries, in order. schema: the columns, each of a type for the values of all inputs.
    """

    inputs: tuple[_Opened, ...]
    schema: pa.Schema

    @property
    def files(self) -> str:
        """Names of the files for messages; of more than three files, the first three and the number of the others."""
        names = [each.display_name for each in self.inputs]
        return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in the order of the first file."""
        return tuple(self.schema.names)

    @property
    def target(self) -> str | None:
        """The target column that the format itself defines: the label of svmlight files; None for other formats."""
        return next((each.reader.target for each in self.inputs if each.reader.target), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about what has been read so far, one sentence each."""
        found = []
        for each in self.inputs:
            if isinstance(each.input, Spool):
                found.append(f"{each.display_name}: {each.input.warning}")
            found += [f"{each.display_name}: {warning}" for warning in each.reader.warnings]
        return tuple(found)

    def fingerprint(self) -> str:
        """A digest that changes when the data change.

        For files it covers names, sizes and modification times; for pipes, all bytes; for queries, only their text.
        """
        parts = []
        for each in self.inputs:
            if each.input is None:
                parts.append(each.fingerprint)
            else:
                with cannot_be_read(each.input):
                    parts.append(each.input.fingerprint())
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def blocks(self, columns: Sequence[str] | None = None, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        """All rows in blocks of `rows` rows, the last block may have fewer; columns: read only these, in this order."""
        if rows < 1:
            raise InputError(f"rows={rows}: expected a whole number from 1")
        return recut(self._as_read(columns), rows)

    def read(self) -> Block:
        """All rows as one block."""
        return joined(list(self._as_read(None)))

    def _as_read(self, columns: Sequence[str] | None) -> Iterator[Block]:
        names = list(self.column_names if columns is None else columns)
        for name in names:
            if name not in self.column_names:
                raise DataError(f"{self.files}: there is no column {name!r}; {suggestion(name, self.column_names)}")
        schema = pa.schema([self.schema.field(name) for name in names])
        return (block for each in self.inputs for block in each.blocks(schema))


def _opened(data: Sequence[str | Path], naming: Naming) -> Iterator[_Opened]:
    files = {place: expanded(given) for place, given in enumerate(data) if not _is_stdin_or_query(given)}
    names = iter(display_names([path for found in files.values() for path in found]))
    for place, given in enumerate(data):
        if place in files:
            for path in files[place]:
                yield _opened_file(path, next(names), naming)
        elif given == "-":
            yield _opened_input(standard_input(), naming, None)
        else:
            query = str(given).removeprefix(PREFIX)
            yield _Opened(DISPLAY_NAME, open_sql(query, naming), None, f"{PREFIX}{query}")


def _is_stdin_or_query(given: str | Path) -> bool:
    return isinstance(given, str) and (given == "-" or given.startswith(PREFIX))


def _opened_file(path: Path, display_name: str, naming: Naming) -> _Opened:
    by_name = format_of(path.name)
    source: Input = DiskFile(path, display_name)
    with cannot_be_read(source):
        if is_pipe(path):
            source = pipe(path, display_name)
        elif by_name is None and path.parts[:2] != ("/", "dev"):
            raise DataError(f"{path} is of a kind that cannot be read; give one of {KNOWN}")
        elif path.stat().st_size == 0:
            raise DataError(f"{display_name} is empty; give a file with rows")
    return _opened_input(source, naming, by_name)


def _opened_input(source: Input, naming: Naming, by_name: Format | None) -> _Opened:
    found = by_name or format_within(source)
    fingerprint = "" if isinstance(source, Spool) else source.fingerprint()
    return _Opened(source.display_name, found.open(source, found.compression, naming), source, fingerprint)


def _of_type(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with its columns cast to the types of the schema."""
    if table.schema.types == schema.types:
        return table
    return pa.concat_tables([schema.empty_table(), table], promote_options="permissive")
