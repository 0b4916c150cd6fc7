"""Tables that fit in memory: files and frames read into Arrow.

A CSV column is always read as text. What it holds is decided later, over all its rows: a guess made
from the first block, which is what CSV readers do, fails on the row that proves it wrong.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from torchlogit.data.json_lines import read_json_lines
from torchlogit.data.svmlight import QID, chunks_of
from torchlogit.data.vectors import as_vectors
from torchlogit.data.wording import examples, excerpt, one_line
from torchlogit.errors import DataError

_BLOCK_BYTES = 4 << 20  # pyarrow refuses a row longer than a block; its default, 1 MiB, is short for texts
_LARGEST_BLOCK_BYTES = 1 << 30
_TOO_LONG = "straddling"  # a word in what pyarrow then says


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

    A file is .csv, .tsv, .jsonl, .svm, .libsvm, .svmlight (each also .gz) or .parquet. CSV columns are text, UTF-8;
    others keep their types. A svmlight file has two columns, `label` and `f`, one of sparse vectors. The files have
    the same columns, in any order. `names` takes the place of the
    names in the files; without a header (`has_header=False`) and without `names` the columns are
    column_1, column_2, ...

    Raises DataError, naming the file and the row, for anything that cannot be read.

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
    if not paths:
        raise DataError(f"no file was given; give at least one of {_KNOWN}")
    files = [Path(path) for path in paths]
    shown = _shown_names(files)
    tables = [_read_file(path, name, names, has_header) for path, name in zip(files, shown, strict=True)]
    origin = Origin(shown, tuple(table.num_rows for table in tables))
    notices = [f"{name}: {notice}" for name, table in zip(shown, tables, strict=True) for notice in _notices(table)]
    return LoadedTable(_concatenated(tables, shown), origin, tuple(notices))


def own_target(paths: Sequence[str | Path]) -> str | None:
    """The target column that the files' format has, where it has one: the label of svmlight files.

    >>> own_target(["a9a.svm"]), own_target(["people.csv"])
    ('label', None)
    """
    formats = [_format_of(Path(path)) for path in paths]
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
    _refuse_repeated("the table", table.column_names, _RENAME)
    return _without_pandas_index(table)


def _arrow_table(X: object) -> pa.Table:
    if isinstance(X, str | Path):
        own = own_target([X])
        return read_table([X]).table.drop_columns([own] if own else [])
    if isinstance(X, pa.Table):
        return X
    if isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    if hasattr(X, "__arrow_c_stream__"):
        _refuse_repeated("the table", map(str, getattr(X, "columns", ())), _RENAME)
        return pa.table(X)
    if isinstance(X, Mapping):
        return pa.table(dict(X))
    raise DataError(
        f"expected a table with named columns (a pandas, polars or Arrow table, or a dict of columns) and got "
        f"{type(X).__module__}.{type(X).__qualname__}; name the columns, for example pandas.DataFrame(X, columns=[...])"
    )


def _without_pandas_index(table: pa.Table) -> pa.Table:
    kept_by_pandas = (table.schema.pandas_metadata or {}).get("index_columns", [])
    index = [name for name in kept_by_pandas if isinstance(name, str) and name in table.column_names]
    return table.drop_columns(index) if index else table


# Files.


def _shown_names(files: Sequence[Path]) -> tuple[str, ...]:
    times = Counter(path.name for path in files)
    return tuple(path.name if times[path.name] == 1 else str(path) for path in files)


def _read_file(path: Path, shown: str, names: Sequence[str] | None, has_header: bool) -> pa.Table:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the files in it, for example {path}/*.csv")
    if not path.exists():
        raise DataError(f"{path} does not exist; check the path")
    found = _format_of(path)
    if found is None:
        raise DataError(f"{path} is of a kind that cannot be read; give one of {_KNOWN}")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{shown} is empty; give a file with rows")
        table = found.read(path, shown, names, has_header)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or one_line(str(error))}") from None
    if table.num_rows == 0:
        raise DataError(f"{shown} has column names and no rows; give a file with rows")
    return table


def _format_of(path: Path) -> _Format | None:
    return next((found for suffix, found in _FORMATS.items() if path.name.lower().endswith(suffix)), None)


def _notices(table: pa.Table) -> list[str]:
    """What a reader had to say of a table, kept with its schema."""
    notice = (table.schema.metadata or {}).get(_NOTICE)
    return [] if notice is None else [notice.decode()]


def _concatenated(tables: Sequence[pa.Table], shown: Sequence[str]) -> pa.Table:
    first = tables[0]
    aligned = [_aligned(table, first, name, shown[0]) for table, name in zip(tables, shown, strict=True)]
    try:
        return pa.concat_tables(aligned, promote_options="permissive")
    except pa.ArrowException:
        raise _differing_types(aligned, shown) from None


def _differing_types(tables: Sequence[pa.Table], shown: Sequence[str]) -> DataError:
    for table, name in zip(tables, shown, strict=True):
        for field, first in zip(table.schema, tables[0].schema, strict=True):
            try:
                pa.unify_schemas([pa.schema([first]), pa.schema([field])], promote_options="permissive")
            except pa.ArrowException:
                what = f"column {field.name!r} is {first.type} in {shown[0]} and {field.type} in {name}"
                return DataError(f"{what}; write it as one type")
    return DataError(f"{Origin(tuple(shown), ()).files} have columns of different types; write them as one type")


def _aligned(table: pa.Table, first: pa.Table, name: str, first_name: str) -> pa.Table:
    lacking = [column for column in first.column_names if column not in table.column_names]
    extra = [column for column in table.column_names if column not in first.column_names]
    if lacking or extra:
        lacks = f"lacks {examples(lacking)}" if lacking else ""
        adds = f"adds {examples(extra)}" if extra else ""
        raise DataError(
            f"{name} has other columns than {first_name}: it {' and '.join(filter(None, (lacks, adds)))}; "
            f"give files with the same columns"
        )
    return table.select(first.column_names)


def _column_names(shown: str, found: Sequence[str], names: Sequence[str] | None) -> list[str]:
    if names is not None and len(names) != len(found):
        raise DataError(f"{shown} has {len(found)} columns and {len(names)} names were given; give one name per column")
    result = [name.strip() for name in (found if names is None else names)]
    if "" in result:
        raise DataError(f"{shown}: column {result.index('') + 1} has no name; {_NAME_IT}")
    _refuse_repeated(shown, result, _NAME_IT)
    return result


def _refuse_repeated(where: str, names: Iterable[str], remedy: str) -> None:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(f"{where}: more than one column is called {examples(repeated)}; {remedy}")


def _read_parquet(path: Path, shown: str, names: Sequence[str] | None, has_header: bool) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{shown} is not a whole Parquet file; write it or fetch it again") from None
    table = _without_pandas_index(table)
    return table.rename_columns(_column_names(shown, table.column_names, names))


def _read_json_lines(
    path: Path, shown: str, names: Sequence[str] | None, has_header: bool, *, compression: str | None
) -> pa.Table:
    try:
        table = read_json_lines(path, shown, compression)
    except (OSError, EOFError, zlib.error) as error:
        if compression is None or getattr(error, "errno", None) is not None:
            raise
        raise _broken_gzip(shown) from None
    return table.rename_columns(_column_names(shown, table.column_names, names))


def _read_svmlight(path: Path, shown: str, names: Sequence[str] | None, has_header: bool) -> pa.Table:
    if names is not None:
        raise DataError(f"{shown}: the features of svmlight files have numbers; leave the names out")
    chunks = list(chunks_of(path, shown))
    whole = all((chunk.targets == np.floor(chunk.targets)).all() for chunk in chunks)
    labels = [pa.array(chunk.targets.astype(np.int64) if whole else chunk.targets) for chunk in chunks]
    vectors = [as_vectors(chunk.indptr, chunk.indices, chunk.values) for chunk in chunks]
    table = pa.table({_LABEL: pa.chunked_array(labels), _VECTORS: pa.chunked_array(vectors)})
    return table.replace_schema_metadata({_NOTICE: QID} if any(chunk.has_qid for chunk in chunks) else None)


def _broken_gzip(shown: str) -> DataError:
    return DataError(f"{shown} is not a whole gzip file; compress it or fetch it again")


def _read_csv(
    path: Path, shown: str, names: Sequence[str] | None, has_header: bool, *, delimiter: str, compression: str | None
) -> pa.Table:
    file = _CsvFile(path, shown, delimiter, compression)
    try:
        layout = file.layout(names, has_header)
        table = file.table(layout)
    except (OSError, EOFError, zlib.error) as error:
        if compression is None or getattr(error, "errno", None) is not None:
            raise
        raise _broken_gzip(shown) from None
    last = table.column(table.num_columns - 1)
    if len(last) and "\n" in last[-1].as_py() and not file.ends_in_a_quote():
        # pyarrow takes an open quote to run to the end of the file, and says nothing.
        raise file.open_quote(len(last))
    return table


@dataclass(frozen=True, slots=True)
class _Layout:
    """The column names of a CSV file, and the lines and records before its first row."""

    names: list[str]
    blank_lines: int
    header_records: int


@dataclass(frozen=True, slots=True)
class _CsvFile:
    """One CSV file: pyarrow reads it, and Python's csv module its header and the place of a fault."""

    path: Path
    shown: str
    delimiter: str
    compression: str | None

    def layout(self, names: Sequence[str] | None, has_header: bool) -> _Layout:
        try:
            with contextlib.closing(self._records()) as records:
                blank_lines, first = next(((line, record) for line, record in enumerate(records) if record), (0, []))
        except csv.Error as error:
            raise DataError(f"{self.shown}: the first line is no CSV ({error}); check its quotes") from None
        if not first:
            raise DataError(f"{self.shown} is empty; give a file with rows")
        if any(_is_not_utf8(field) for field in first):
            raise DataError(f"{self.shown}: the first line is not UTF-8 text; {_SAVE_AS_UTF8}")
        self._refuse_other_delimiter(first)
        found = first if has_header else [f"column_{i + 1}" for i in range(len(first))]
        return _Layout(_column_names(self.shown, found, names), blank_lines, int(has_header))

    def table(self, layout: _Layout) -> pa.Table:
        try:
            return self._in_blocks(layout)
        except pa.ArrowInvalid as error:
            self._refuse_ragged_row(layout)
            self._refuse_other_encoding(layout)
            if _TOO_LONG in str(error):
                self._refuse_endless_row(layout)
            raise DataError(f"{self.shown} cannot be read as CSV: {one_line(str(error))}") from None

    def ends_in_a_quote(self) -> bool:
        tail = b""
        with pa.input_stream(str(self.path), compression=self.compression) as stream:
            while block := stream.read(_BLOCK_BYTES):
                tail = (tail + block)[-16:]
        return tail.rstrip(b"\r\n").endswith(b'"')

    def open_quote(self, row: int) -> DataError:
        return DataError(
            f"{self.shown} row {row}: a quote is opened and never closed; close it, and double the quotes inside it"
        )

    def _in_blocks(self, layout: _Layout) -> pa.Table:
        """The rows, read in blocks that hold the longest of them."""
        for size in (_BLOCK_BYTES, 16 * _BLOCK_BYTES):
            try:
                return self._arrow(layout, use_threads=True, invalid_row_handler=None, block_bytes=size)
            except pa.ArrowInvalid as error:
                if _TOO_LONG not in str(error):
                    raise
        return self._arrow(layout, use_threads=True, invalid_row_handler=None, block_bytes=_LARGEST_BLOCK_BYTES)

    def _arrow(
        self,
        layout: _Layout,
        *,
        use_threads: bool,
        invalid_row_handler: Callable[[pacsv.InvalidRow], str] | None,
        block_bytes: int,
    ) -> pa.Table:
        with pa.input_stream(str(self.path), compression=self.compression) as stream:
            return pacsv.read_csv(
                stream,
                read_options=pacsv.ReadOptions(
                    column_names=layout.names,
                    skip_rows=layout.blank_lines,
                    skip_rows_after_names=layout.header_records,
                    use_threads=use_threads,
                    block_size=block_bytes,
                ),
                parse_options=pacsv.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=invalid_row_handler
                ),
                convert_options=pacsv.ConvertOptions(column_types=dict.fromkeys(layout.names, pa.string())),
            )

    def _refuse_ragged_row(self, layout: _Layout) -> None:
        ragged: list[pacsv.InvalidRow] = []

        def keep(row: pacsv.InvalidRow) -> str:
            ragged.append(row)
            return "error"

        with contextlib.suppress(pa.ArrowInvalid):
            # Rows are numbered only where one thread reads them in order.
            self._arrow(layout, use_threads=False, invalid_row_handler=keep, block_bytes=16 * _BLOCK_BYTES)
        if ragged:
            row = ragged[0]
            raise DataError(
                f"{self.shown} row {row.number - layout.blank_lines - layout.header_records}: expected "
                f"{row.expected_columns} fields and found {row.actual_columns} in {excerpt(row.text)}; "
                f"complete the row, or quote the fields that hold {self.delimiter!r}"
            )

    def _refuse_other_encoding(self, layout: _Layout) -> None:
        rows = (record for record in self._records() if record)
        with contextlib.suppress(csv.Error):
            for row, record in enumerate(rows, start=1 - layout.header_records):
                for name, field in zip(layout.names, record, strict=False):
                    if _is_not_utf8(field):
                        raise DataError(f"{self.shown} row {row}: column {name!r} is not UTF-8 text; {_SAVE_AS_UTF8}")

    def _refuse_endless_row(self, layout: _Layout) -> None:
        row = 1 - layout.header_records
        try:
            for record in self._records(strict=True):
                row += bool(record)
        except csv.Error:
            raise self.open_quote(row) from None

    def _refuse_other_delimiter(self, first: list[str]) -> None:
        other = next((mark for mark in ",;\t|" if mark != self.delimiter and mark in first[0]), None)
        if len(first) == 1 and other is not None:
            remedy = {",": "call it .csv", "\t": "call it .tsv"}.get(other, "write it with ',' between the fields")
            raise DataError(
                f"{self.shown} has one column, {excerpt(first[0])}, which holds {other!r} where "
                f"{self.delimiter!r} was expected between fields; {remedy}"
            )

    def _records(self, *, strict: bool = False) -> Generator[list[str], None, None]:
        opened = gzip.open if self.compression == "gzip" else open
        with opened(self.path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield from csv.reader(cast(IO[str], lines), delimiter=self.delimiter, strict=strict)


def _is_not_utf8(field: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in field)


_RENAME = "give each column a name of its own"
_NAME_IT = f"{_RENAME}, or say that the file has no header (has_header=False or --no-header)"
_SAVE_AS_UTF8 = "save the file as UTF-8, for example with iconv -f latin1 -t utf-8"

_LABEL, _VECTORS = "label", "f"  # the columns of a svmlight file
_NOTICE = b"torchlogit.notice"

_Reader: TypeAlias = Callable[[Path, str, Sequence[str] | None, bool], pa.Table]


@dataclass(frozen=True, slots=True)
class _Format:
    """How a kind of file is read, and the target column that it has of its own, if any."""

    read: _Reader
    target: str | None = None


_FORMATS = {
    ".csv": _Format(partial(_read_csv, delimiter=",", compression=None)),
    ".csv.gz": _Format(partial(_read_csv, delimiter=",", compression="gzip")),
    ".tsv": _Format(partial(_read_csv, delimiter="\t", compression=None)),
    ".tsv.gz": _Format(partial(_read_csv, delimiter="\t", compression="gzip")),
    ".jsonl": _Format(partial(_read_json_lines, compression=None)),
    ".jsonl.gz": _Format(partial(_read_json_lines, compression="gzip")),
    ".parquet": _Format(_read_parquet),
    **{
        suffix + packed: _Format(_read_svmlight, _LABEL)
        for suffix in (".svm", ".libsvm", ".svmlight")
        for packed in ("", ".gz")
    },
}
_KNOWN = ", ".join(suffix for suffix in _FORMATS if not suffix.endswith(".gz")) + " (all but Parquet also .gz)"
