"""Files, folders, globs, pipes and queries as one source of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from torchlogit.data.reading.bytes import DiskFile, Input, cannot_be_read
from torchlogit.data.reading.formats import KNOWN, format_of, format_within
from torchlogit.data.reading.origin import Origin
from torchlogit.data.reading.paths import expanded, shown_names
from torchlogit.data.reading.pipes import Spool, is_pipe, pipe, standard_input
from torchlogit.data.reading.reader import Naming, Reader
from torchlogit.data.reading.source import START, Block, Cursor, Source
from torchlogit.data.reading.sql import PREFIX, SHOWN, open_sql
from torchlogit.data.wording import examples, meant
from torchlogit.errors import DataError, InputError

BLOCK_ROWS = 65_536


def open_source(
    data: Sequence[str | Path],
    *,
    names: Sequence[str] | None = None,
    has_header: bool = True,
    block_rows: int = BLOCK_ROWS,
) -> Source:
    """The rows of all that is given, one after the other, in blocks of `block_rows` rows, fewer at the end of a file.

    Each of `data` is a file (.csv, .tsv, .jsonl, .svm, .libsvm, .svmlight, each also .gz or .zst; .parquet, .arrow,
    .feather), a glob or a folder of files, read in the order of their names, `-` for standard input, a pipe, or
    `sql:SELECT ...`, run by DuckDB. CSV columns are text, UTF-8; others keep their types. A svmlight file has two
    columns, `label` and `f`, one of sparse vectors. All have the same columns, in any order. `names` takes the place
    of the names in the files; without a header (`has_header=False`) and without `names` the columns are column_1,
    column_2, ...

    Raises DataError, naming the file and the row, for anything that cannot be read: here for what can be told without
    reading it all, later from `blocks`. MissingExtraError for a query without DuckDB.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> for name, text in [("b.csv", "age,job\\n20,smith\\n"), ("a.csv", "age,job\\n39,clerk\\n50,?\\n")]:
    ...     _ = Path(folder.name, name).write_text(text)
    >>> source = open_source([folder.name])
    >>> for block in source.blocks():
    ...     block.table.to_pydict(), block.file, block.cursor
    ({'age': ['39', '50'], 'job': ['clerk', '?']}, 'a.csv', Cursor(file=0, row=2))
    ({'age': ['20'], 'job': ['smith']}, 'b.csv', Cursor(file=1, row=1))
    >>> [block.table.to_pylist() for block in source.blocks(Cursor(0, 1), columns=["age"])]
    [[{'age': '50'}], [{'age': '20'}]]
    >>> folder.cleanup()
    """
    if not data:
        raise DataError(f"no file was given; give at least one of {KNOWN}")
    if block_rows < 1:
        raise InputError(f"block_rows={block_rows}: expected a whole number from 1")
    naming = Naming(None if names is None else tuple(names), has_header)
    parts = list(_opened(data, naming))
    return FileSource(tuple(parts), _common_schema(parts), block_rows)


@dataclass(frozen=True, slots=True)
class _Part:
    """A file, or what stands for one, as it was found: how it is read, and its state then; a query has no input."""

    shown: str
    reader: Reader
    input: Input | None
    state: str

    def refuse_changed(self) -> None:
        """DataError where it has changed since, or is gone."""
        if isinstance(self.input, DiskFile):
            with cannot_be_read(self.input):
                now = self.input.state()
            if now != self.state:
                raise DataError(f"{self.shown} has changed since it was first read; start again with the file at rest")


@dataclass(frozen=True, slots=True)
class FileSource:
    """What `open_source` opened: its parts, and the types that hold the columns of all of them."""

    parts: tuple[_Part, ...]
    schema: pa.Schema
    block_rows: int

    @property
    def files(self) -> str:
        """The names, the first three of them where there are more."""
        return Origin(tuple(part.shown for part in self.parts), ()).files

    @property
    def column_names(self) -> tuple[str, ...]:
        """As the first file orders them."""
        return tuple(self.schema.names)

    @property
    def target(self) -> str | None:
        """The label of svmlight files."""
        return next((part.reader.target for part in self.parts if part.reader.target), None)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was found in each file so far."""
        found = []
        for part in self.parts:
            if isinstance(part.input, Spool):
                found.append(f"{part.shown}: {part.input.notice}")
            found += [f"{part.shown}: {notice}" for notice in part.reader.notices]
        return tuple(found)

    def fingerprint(self) -> str:
        """A digest of names, sizes and times of files; of queries, their text alone; of pipes, all they gave."""
        states = []
        for part in self.parts:
            if part.input is None:
                states.append(part.state)
            else:
                with cannot_be_read(part.input):
                    states.append(part.input.state())
        return hashlib.sha256("\0".join(states).encode()).hexdigest()

    def blocks(self, start: Cursor = START, columns: Sequence[str] | None = None) -> Iterator[Block]:
        """The rows from the cursor on."""
        wanted = list(self.column_names if columns is None else columns)
        for name in wanted:
            if name not in self.column_names:
                raise DataError(f"{self.files}: there is no column {name!r}; {meant(name, self.column_names)}")
        if not 0 <= start.file <= len(self.parts):
            raise InputError(f"{start}: expected a file from 0 to {len(self.parts)}")
        return self._blocks(start, wanted)

    def _blocks(self, start: Cursor, columns: list[str]) -> Iterator[Block]:
        schema = pa.schema([self.schema.field(name) for name in columns])
        for index in range(start.file, len(self.parts)):
            part = self.parts[index]
            row = first = start.row if index == start.file else 0
            try:
                part.refuse_changed()
                for table in _in_blocks(part.reader.tables(first, columns), self.block_rows):
                    after = row + table.num_rows
                    yield Block(_of_type(table, schema), part.shown, row, Cursor(index, after))
                    row = after
                part.refuse_changed()
                if row == 0:
                    raise DataError(f"{part.shown} has column names and no rows; give a file with rows")
            except DataError as error:
                raise error.named(part.shown) from None


def _opened(data: Sequence[str | Path], naming: Naming) -> Iterator[_Part]:
    files = {place: expanded(given) for place, given in enumerate(data) if not _is_special(given)}
    shown = iter(shown_names([path for found in files.values() for path in found]))
    for place, given in enumerate(data):
        if place in files:
            for path in files[place]:
                yield _opened_file(path, next(shown), naming)
        elif given == "-":
            yield _opened_input(standard_input(), naming, None)
        else:
            query = str(given).removeprefix(PREFIX)
            yield _Part(SHOWN, open_sql(query, naming), None, f"{PREFIX}{query}")


def _is_special(given: str | Path) -> bool:
    return isinstance(given, str) and (given == "-" or given.startswith(PREFIX))


def _opened_file(path: Path, shown: str, naming: Naming) -> _Part:
    found = format_of(path.name)
    source: Input = DiskFile(path, shown)
    with cannot_be_read(source):
        if is_pipe(path):
            source = pipe(path, shown)
        elif found is None and path.parts[:2] != ("/", "dev"):
            raise DataError(f"{path} is of a kind that cannot be read; give one of {KNOWN}")
        elif path.stat().st_size == 0:
            raise DataError(f"{shown} is empty; give a file with rows")
    return _opened_input(source, naming, path)


def _opened_input(source: Input, naming: Naming, path: Path | None) -> _Part:
    found = (format_of(path.name) if path is not None else None) or format_within(source)
    state = "" if isinstance(source, Spool) else source.state()
    return _Part(source.shown, found.opens(source, found.compression, naming), source, state)


def _in_blocks(tables: Iterable[pa.Table], block_rows: int) -> Iterator[pa.Table]:
    """The rows of all tables in tables of `block_rows` rows, the last of them of fewer."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        if rows >= block_rows:
            joined = pa.concat_tables(held)
            cut = rows - rows % block_rows
            yield from (joined.slice(first, block_rows) for first in range(0, cut, block_rows))
            held, rows = [joined.slice(cut)], rows - cut
    if rows:
        yield pa.concat_tables(held)


def _of_type(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.types == schema.types:
        return table
    return pa.concat_tables([schema.empty_table(), table], promote_options="permissive")


def _common_schema(parts: Sequence[_Part]) -> pa.Schema:
    """The columns of the first part, of types that hold those of all."""
    first = parts[0]
    common = first.reader.schema.remove_metadata()
    for part in parts[1:]:
        _refuse_other_columns(part, first)
        found = pa.schema([part.reader.schema.field(name) for name in common.names])
        try:
            common = pa.unify_schemas([common, found], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise _differing_types(parts, common.names) from None
    return common


def _refuse_other_columns(part: _Part, first: _Part) -> None:
    own, others = part.reader.schema.names, first.reader.schema.names
    lacking = [column for column in others if column not in own]
    extra = [column for column in own if column not in others]
    if lacking or extra:
        lacks = f"lacks {examples(lacking)}" if lacking else ""
        adds = f"adds {examples(extra)}" if extra else ""
        raise DataError(
            f"{part.shown} has other columns than {first.shown}: it {' and '.join(filter(None, (lacks, adds)))}; "
            f"give files with the same columns"
        )


def _differing_types(parts: Sequence[_Part], columns: Sequence[str]) -> DataError:
    """Which column's types do not go together, and in which file."""
    for name in columns:
        known = pa.schema([parts[0].reader.schema.field(name)])
        for part in parts[1:]:
            field = part.reader.schema.field(name)
            try:
                known = pa.unify_schemas([known, pa.schema([field])], promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                what = (
                    f"column {name!r} is {known.field(name).type} in {parts[0].shown} and {field.type} in {part.shown}"
                )
                return DataError(f"{what}; write it as one type")
    return DataError(f"{parts[0].shown} and others have columns of different types; write them as one type")
