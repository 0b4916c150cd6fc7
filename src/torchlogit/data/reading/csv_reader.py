"""CSV files, read half a MiB at a time on all cores, each column as text.

pyarrow parses the pieces; Python's csv module reads the header, and finds the row to blame where pyarrow gives up.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.csv as pacsv

from torchlogit.data.in_order import in_order
from torchlogit.data.reading.bytes import LONGEST_RECORD, MARK, Input, Piece, Text, records
from torchlogit.data.reading.csv_quotes import ends_quoted, last_record_end
from torchlogit.data.reading.reader import Naming
from torchlogit.data.wording import excerpt, one_line
from torchlogit.errors import DataError

PIECE_BYTES = 1 << 19  # with its columns, what a core keeps in its cache: 4 MiB took twice as long
_AHEAD = 16

_SAVE_AS_UTF8 = "save the file as UTF-8, for example with iconv -f latin1 -t utf-8"


def open_csv(source: Input, compression: str | None, naming: Naming, *, delimiter: str) -> CsvReader:
    """The file's columns, from its first record."""
    text = Text(source, compression)
    try:
        with contextlib.closing(text.lines()) as lines:
            parsed = csv.reader(lines, delimiter=delimiter)
            blank_lines, first = next(((line, record) for line, record in enumerate(parsed) if record), (0, []))
    except csv.Error as error:
        raise DataError(f"{text.display_name}: the first line is no CSV ({error}); check its quotes") from None
    if not first:
        raise DataError(f"{text.display_name} is empty; give a file with rows")
    if any(_is_not_utf8(field) for field in first):
        raise DataError(f"{text.display_name}: the first line is not UTF-8 text; {_SAVE_AS_UTF8}")
    _refuse_other_delimiter(text.display_name, first, delimiter)
    found = first if naming.has_header else [f"column_{i + 1}" for i in range(len(first))]
    names = tuple(naming.of(text.display_name, found))
    return CsvReader(text, delimiter, names, blank_lines, int(naming.has_header))


@dataclass(frozen=True, slots=True)
class CsvReader:
    """A CSV file: the `names` of its columns, and the lines and records before its first row."""

    text: Text
    delimiter: str
    names: tuple[str, ...]
    blank_lines: int
    header_records: int
    target: None = None
    warnings: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """Text, all of it."""
        return pa.schema([(name, pa.string()) for name in self.names])

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one piece of text at a time."""
        pieces = records(self.text, partial(last_record_end, delimiter=self.delimiter), PIECE_BYTES)
        parts = (_Part(self, piece, is_first=place == 0) for place, piece in enumerate(pieces))
        first_row = 0
        tried = partial(_tried, columns=list(columns))
        for part, table in in_order(tried, parts, ahead=_AHEAD, ready=self.text.input.ready):
            if isinstance(table, pa.ArrowInvalid):
                raise part.fault(first_row, table)
            if part.is_open:
                raise _open_quote(self.text.display_name, first_row)
            yield table
            first_row += table.num_rows


def _tried(part: _Part, columns: list[str]) -> tuple[_Part, pa.Table | pa.ArrowInvalid]:
    """The part's rows, or what pyarrow had against them: the row to blame is known once all before it are counted."""
    try:
        return part, part.table(columns)
    except pa.ArrowInvalid as error:
        return part, error


class _Part:
    """Some whole records of a file; the first part has its header."""

    def __init__(self, reader: CsvReader, piece: Piece, *, is_first: bool) -> None:
        self._reader = reader
        self._text = piece.text
        self._skipped = (reader.blank_lines, reader.header_records) if is_first else (0, 0)
        self.is_open = piece.is_rest and ends_quoted(piece.text, reader.delimiter)
        if piece.is_rest and len(piece.text) > LONGEST_RECORD and not self.is_open:
            size = LONGEST_RECORD >> 20
            raise DataError(f"{reader.text.display_name} has a row of more than {size} MiB; is it CSV?")
        if piece.is_rest:
            self._text += b"\n"
        if not is_first and piece.text.startswith(MARK):
            self._text = b"\n" + self._text  # pyarrow would take it for the mark at the start of a file

    def table(self, columns: list[str]) -> pa.Table:
        """The rows of these columns; pa.ArrowInvalid where there is something wrong with one."""
        if self.is_open or (self._text[0] in b"\r\n" and not self._text.strip(b"\r\n")):
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        return self._parsed(columns, None)

    def _parsed(self, columns: list[str], ragged: list[pacsv.InvalidRow] | None) -> pa.Table:
        def keep(row: pacsv.InvalidRow) -> str:
            assert ragged is not None
            ragged.append(row)
            return "error"

        names, (blank_lines, header_records) = list(self._reader.names), self._skipped
        return pacsv.read_csv(
            pa.BufferReader(self._text),
            read_options=pacsv.ReadOptions(
                column_names=names,
                skip_rows=blank_lines,
                skip_rows_after_names=header_records,
                use_threads=False,
                block_size=len(self._text) + 1,
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=self._reader.delimiter,
                newlines_in_values=header_records > 0 and b'"' in self._text,  # where pyarrow passes over the header
                invalid_row_handler=None if ragged is None else keep,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=columns
            ),
        )

    def fault(self, first_row: int, error: pa.ArrowInvalid) -> DataError:
        """What is wrong, and with which row, by the index of the part's first row in the file."""
        display_name = self._reader.text.display_name
        return (
            self._ragged_row(first_row)
            or self._other_encoding(first_row)
            or DataError(f"{display_name} cannot be read as CSV from row {first_row + 1} on: {one_line(str(error))}")
        )

    def _ragged_row(self, first_row: int) -> DataError | None:
        ragged: list[pacsv.InvalidRow] = []
        with contextlib.suppress(pa.ArrowInvalid):
            self._parsed(list(self._reader.names), ragged)
        if not ragged:
            return None
        row, delimiter = ragged[0], self._reader.delimiter
        return DataError(
            f"{self._reader.text.display_name} row {first_row + row.number - sum(self._skipped)}: expected "
            f"{row.expected_columns} fields and found {row.actual_columns} in {excerpt(row.text)}; "
            f"complete the row, or quote the fields that hold {delimiter!r}"
        )

    def _other_encoding(self, first_row: int) -> DataError | None:
        text = io.StringIO(self._text.decode("utf-8-sig", "surrogateescape"), newline="")
        rows = (record for record in csv.reader(text, delimiter=self._reader.delimiter) if record)
        with contextlib.suppress(csv.Error):
            for row, record in enumerate(rows, start=first_row + 1 - self._skipped[1]):
                for name, field in zip(self._reader.names, record, strict=False):
                    if _is_not_utf8(field):
                        where = f"{self._reader.text.display_name} row {row}"
                        return DataError(f"{where}: column {name!r} is not UTF-8 text; {_SAVE_AS_UTF8}")
        return None


def _open_quote(display_name: str, row: int) -> DataError:
    return DataError(
        f"{display_name} row {row + 1}: a quote is opened and never closed; close it, and double the quotes inside it"
    )


def _refuse_other_delimiter(display_name: str, first: list[str], delimiter: str) -> None:
    other = next((mark for mark in ",;\t|" if mark != delimiter and mark in first[0]), None)
    if len(first) == 1 and other is not None:
        remedy = {",": "call it .csv", "\t": "call it .tsv"}.get(other, "write it with ',' between the fields")
        raise DataError(
            f"{display_name} has one column, {excerpt(first[0])}, which holds {other!r} where "
            f"{delimiter!r} was expected between fields; {remedy}"
        )


def _is_not_utf8(field: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in field)
