"""CSV files, parsed in threads; all columns are text.

pyarrow parses the text. Python's csv module reads the header, and finds the row at fault when pyarrow fails.
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

from torchlogit.data.concurrency import map_in_threads
from torchlogit.data.reading.bytes import BYTE_ORDER_MARK, MAX_RECORD_BYTES, Input, Records, Text, records
from torchlogit.data.reading.csv_quotes import ends_in_quotes, last_record_end
from torchlogit.data.reading.reader import Naming
from torchlogit.data.wording import excerpt, one_line
from torchlogit.errors import DataError

# Bytes of text that a thread parses at a time. The text and its parsed columns fit in a core's cache; with 4 MiB,
# reading took twice as long (docs/decisions/0015).
READ_BYTES = 1 << 19
_MAX_PENDING = 16  # parsed parts that may wait to be used; more keep more threads busy and take more memory

# By the suffix of the file's name. Text without a suffix has the first of them that its first line holds.
DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SAVE_AS_UTF8 = "save the file as UTF-8, for example with iconv -f latin1 -t utf-8"


def open_csv(source: Input, compression: str | None, naming: Naming, *, delimiter: str) -> CsvReader:
    """A reader of the file, whose columns are found from its first record."""
    text = Text(source, compression)
    name = text.display_name
    try:
        with contextlib.closing(text.lines()) as lines:
            parsed = csv.reader(lines, delimiter=delimiter)
            blank_lines, first = next(((line, record) for line, record in enumerate(parsed) if record), (0, []))
    except csv.Error as error:
        raise DataError(f"{name}: the first line is not CSV ({error}); check its quotes") from None
    if not first:
        raise DataError(f"{name} is empty; give a file with rows")
    if any(_is_not_utf8(field) for field in first):
        raise DataError(f"{name}: the first line is not UTF-8 text; {_SAVE_AS_UTF8}")
    _refuse_other_delimiter(name, first, delimiter)
    in_file = first if naming.has_header else [f"column_{i + 1}" for i in range(len(first))]
    schema = naming.schema(name, pa.schema([(field, pa.string()) for field in in_file]))
    return CsvReader(text, delimiter, schema, blank_lines, int(naming.has_header))


@dataclass(frozen=True, slots=True)
class CsvReader:
    """Reads a CSV file. blank_lines, header_records: how many of each come before the first row."""

    text: Text
    delimiter: str
    schema: pa.Schema
    blank_lines: int
    header_records: int
    target: None = None
    warnings: tuple[str, ...] = ()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        parts = records(self.text, partial(last_record_end, delimiter=self.delimiter), READ_BYTES)
        fragments = (_Fragment(self, part, is_first=i == 0) for i, part in enumerate(parts))
        parse = partial(_parse, columns=list(columns))
        first_row = 0
        parsed = map_in_threads(parse, fragments, max_pending=_MAX_PENDING, ready=self.text.input.ready)
        for fragment, table in parsed:
            if isinstance(table, pa.ArrowInvalid):
                raise fragment.fault(first_row, table)
            if fragment.is_open:
                raise _open_quote(self.text.display_name, first_row)
            yield table
            first_row += table.num_rows


def _parse(fragment: _Fragment, columns: list[str]) -> tuple[_Fragment, pa.Table | pa.ArrowInvalid]:
    """Parse a fragment. An error is returned, not raised: the caller must count the rows before it to name the row."""
    try:
        return fragment, fragment.table(columns)
    except pa.ArrowInvalid as error:
        return fragment, error


class _Fragment:
    """Complete records of a file, to be parsed by one thread; the first fragment of a file holds its header.

    is_open: the fragment is the end of the file, and a quoted field in it is never closed.
    """

    def __init__(self, reader: CsvReader, part: Records, *, is_first: bool) -> None:
        self._reader = reader
        self._text = part.text
        self._skipped = (reader.blank_lines, reader.header_records) if is_first else (0, 0)
        self.is_open = part.incomplete and ends_in_quotes(part.text, reader.delimiter)
        if part.incomplete and len(part.text) > MAX_RECORD_BYTES and not self.is_open:
            size = MAX_RECORD_BYTES >> 20
            raise DataError(f"{reader.text.display_name} has a row of more than {size} MiB; is it CSV?")
        if part.incomplete:
            self._text += b"\n"
        if not is_first and part.text.startswith(BYTE_ORDER_MARK):
            self._text = b"\n" + self._text  # else pyarrow would drop it, as at the start of a file

    def table(self, columns: list[str]) -> pa.Table:
        """The rows with these columns; pa.ArrowInvalid if a row cannot be parsed."""
        if self.is_open or (self._text[0] in b"\r\n" and not self._text.strip(b"\r\n")):
            return pa.table({name: pa.array([], pa.string()) for name in columns})
        return self._read_csv(columns, None)

    def _read_csv(self, columns: list[str], ragged: list[pacsv.InvalidRow] | None) -> pa.Table:
        """Parse the text. ragged: the first row with too many or too few fields is appended to this list."""

        def collect(row: pacsv.InvalidRow) -> str:
            assert ragged is not None
            ragged.append(row)
            return "error"

        names, (blank_lines, header_records) = self._reader.schema.names, self._skipped
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
                # Without this, pyarrow would skip only the first line of a header whose quoted names hold line ends.
                newlines_in_values=header_records > 0 and b'"' in self._text,
                invalid_row_handler=None if ragged is None else collect,
            ),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), include_columns=columns
            ),
        )

    def fault(self, first_row: int, error: pa.ArrowInvalid) -> DataError:
        """The error about the row at fault. first_row: the index in the file of the fragment's first row."""
        name = self._reader.text.display_name
        return (
            self._ragged_row(first_row)
            or self._other_encoding(first_row)
            or DataError(f"{name} cannot be read as CSV from row {first_row + 1} on: {one_line(str(error))}")
        )

    def _ragged_row(self, first_row: int) -> DataError | None:
        ragged: list[pacsv.InvalidRow] = []
        with contextlib.suppress(pa.ArrowInvalid):
            self._read_csv(self._reader.schema.names, ragged)
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
                for name, field in zip(self._reader.schema.names, record, strict=False):
                    if _is_not_utf8(field):
                        where = f"{self._reader.text.display_name} row {row}"
                        return DataError(f"{where}: column {name!r} is not UTF-8 text; {_SAVE_AS_UTF8}")
        return None


def _open_quote(display_name: str, row: int) -> DataError:
    return DataError(
        f"{display_name} row {row + 1}: a quote is opened and never closed; close it, and double the quotes inside it"
    )


def _refuse_other_delimiter(display_name: str, first: list[str], delimiter: str) -> None:
    """DataError if the first record is one field that holds another common delimiter."""
    other = next((mark for mark in ",;\t|" if mark != delimiter and mark in first[0]), None)
    if len(first) == 1 and other is not None:
        suffix = next((suffix for suffix, mark in DELIMITERS.items() if mark == other), None)
        remedy = f"call it {suffix}" if suffix else "write it with ',' between the fields"
        raise DataError(
            f"{display_name} has one column, {excerpt(first[0])}, which holds {other!r} where "
            f"{delimiter!r} was expected between fields; {remedy}"
        )


def _is_not_utf8(field: str) -> bool:
    """Whether text decoded with "surrogateescape" holds bytes that are not UTF-8."""
    return any("\udc80" <= character <= "\udcff" for character in field)
