"""JSON lines: one object per line, parsed by pyarrow. If pyarrow fails, Python's json module finds the faulty line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.json as pajson

from torchlogit.data.concurrency import map_in_threads
from torchlogit.data.reading.bytes import MAX_RECORD_BYTES, Input, Records, Text, last_line_end, records
from torchlogit.data.reading.reader import Naming
from torchlogit.data.wording import excerpt, one_line
from torchlogit.errors import DataError

READ_BYTES = 1 << 20  # bytes of text that a thread parses at a time; more take more memory, fewer more calls
_MAX_PENDING = 16  # parsed parts that may wait to be used; more keep more threads busy and take more memory


def open_json_lines(source: Input, compression: str | None, naming: Naming) -> JsonLinesReader:
    """A reader of the file.

    The whole file is read to find the columns, since any line may hold a new key, or the first number of a column that
    is not whole. Text stays text, whatever it looks like. If a line lacks a key, the value is missing.
    """
    text = Text(source, compression)
    schema, rows = pa.schema([]), 0
    for found in map_in_threads(_parse, _parts(text), max_pending=_MAX_PENDING):
        if isinstance(found, pa.ArrowInvalid):
            raise _fault(text, found)
        try:
            schema = pa.unify_schemas([schema, _without_times(found.schema)], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise _fault(text, error) from None
        rows += found.num_rows
    if not rows:
        raise DataError(f"{text.display_name} is empty; give a file with rows")
    return JsonLinesReader(text, naming.schema(text.display_name, schema), schema)


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """Reads a file of JSON lines. in_file: the keys in the file and their types, in the order of `schema`."""

    text: Text
    schema: pa.Schema
    in_file: pa.Schema
    target: None = None
    warnings: tuple[str, ...] = ()

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        schema = pa.schema([self.in_file.field(self.schema.names.index(name)) for name in columns])
        parse = partial(_parse, schema=schema)
        for table in map_in_threads(parse, _parts(self.text), max_pending=_MAX_PENDING):
            if isinstance(table, pa.ArrowInvalid):
                raise _fault(self.text, table)
            yield table.rename_columns(list(columns))


def _parts(text: Text) -> Iterator[Records]:
    return (part for part in records(text, last_line_end, READ_BYTES) if part.text.strip())


def _parse(part: Records, schema: pa.Schema | None = None) -> pa.Table | pa.ArrowInvalid:
    """Parse some lines: the keys of `schema`, or all keys if it is None. An error is returned, not raised.

    The caller then calls `_fault`, which reads the file from its start to name the faulty line.
    """
    try:
        if len(part.text) > MAX_RECORD_BYTES:
            raise pa.ArrowInvalid(f"a line of more than {MAX_RECORD_BYTES >> 20} MiB")
        return pajson.read_json(
            pa.BufferReader(part.text),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(part.text) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
            ),
        )
    except pa.ArrowInvalid as error:
        return error


def _without_times(schema: pa.Schema) -> pa.Schema:
    """The schema with text in place of times, which pyarrow infers for text that looks like a time."""
    return pa.schema([field.with_type(pa.string()) if pa.types.is_temporal(field.type) else field for field in schema])


def _fault(text: Text, error: Exception) -> DataError:
    """The error about the first line that is not a JSON object, or whose value has another type than those before."""
    types: dict[str, type] = {}
    for number, line in enumerate(text.lines("replace"), start=1):
        where = f"{text.display_name} line {number}"
        try:
            row = json.loads(line)
        except ValueError as reason:
            if not line.strip():
                continue
            return DataError(f"{where} is not JSON ({reason}): {excerpt(line.strip())}")
        if not isinstance(row, dict):
            return DataError(f"{where} holds {excerpt(line.strip())}; expected an object, {{...}}")
        for name, value in row.items():
            type_ = float if type(value) is int else type(value)
            if value is not None and types.setdefault(name, type_) is not type_:
                return DataError(
                    f"{where}: {name!r} is {excerpt(json.dumps(value))}, "
                    f"and of another type before; write the values of a key alike"
                )
    return DataError(f"{text.display_name} cannot be read as JSON lines: {one_line(str(error))}")
