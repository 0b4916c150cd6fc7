"""JSON lines: an object per line, read by pyarrow; where it gives up, Python's json finds the line to blame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.json as pajson

from torchlogit.data.in_order import in_order
from torchlogit.data.reading.bytes import LONGEST_RECORD, Input, Piece, Text, last_line_end, records
from torchlogit.data.reading.reader import Naming
from torchlogit.data.wording import excerpt, one_line
from torchlogit.errors import DataError

PIECE_BYTES = 1 << 20
_AHEAD = 16


def open_json_lines(source: Input, compression: str | None, naming: Naming) -> JsonLinesReader:
    """The file's columns: all of it is read, since any line may bring a new key, or the first number that is not whole.

    Text stays text, whatever it looks like; what lacks a key is missing there.
    """
    text = Text(source, compression)
    schema, rows = pa.schema([]), 0
    for found in in_order(_tried, _pieces(text), ahead=_AHEAD):
        if isinstance(found, pa.ArrowInvalid):
            raise _fault(text, found)
        try:
            schema = pa.unify_schemas([schema, _without_times(found.schema)], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise _fault(text, error) from None
        rows += found.num_rows
    if not rows:
        raise DataError(f"{text.display_name} is empty; give a file with rows")
    return JsonLinesReader(text, schema, tuple(naming.of(text.display_name, schema.names)))


@dataclass(frozen=True, slots=True)
class JsonLinesReader:
    """A file of JSON lines: the types of its keys, and what the columns are called."""

    text: Text
    in_file: pa.Schema
    names: tuple[str, ...]
    target: None = None
    warnings: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """The keys' types, by the columns' names."""
        return pa.schema([field.with_name(name) for field, name in zip(self.in_file, self.names, strict=True)])

    def tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of one piece of text at a time."""
        schema = pa.schema([self.in_file.field(self.names.index(name)) for name in columns])
        for table in in_order(partial(_tried, schema=schema), _pieces(self.text), ahead=_AHEAD):
            if isinstance(table, pa.ArrowInvalid):
                raise _fault(self.text, table)
            yield table.rename_columns(list(columns))


def _pieces(text: Text) -> Iterator[Piece]:
    return (piece for piece in records(text, last_line_end, PIECE_BYTES) if piece.text.strip())


def _tried(piece: Piece, schema: pa.Schema | None = None) -> pa.Table | pa.ArrowInvalid:
    """The piece's rows, of the keys in the schema alone where there is one; or what pyarrow had against them."""
    try:
        if len(piece.text) > LONGEST_RECORD:
            raise pa.ArrowInvalid(f"a line of more than {LONGEST_RECORD >> 20} MiB")
        return pajson.read_json(
            pa.BufferReader(piece.text),
            read_options=pajson.ReadOptions(use_threads=False, block_size=len(piece.text) + 1),
            parse_options=pajson.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="infer" if schema is None else "ignore"
            ),
        )
    except pa.ArrowInvalid as error:
        return error


def _without_times(schema: pa.Schema) -> pa.Schema:
    """pyarrow takes text that looks like a time for one."""
    return pa.schema([field.with_type(pa.string()) if pa.types.is_temporal(field.type) else field for field in schema])


def _fault(text: Text, error: Exception) -> DataError:
    """The error of the first line that is no JSON object, or changes the type of a value."""
    kinds: dict[str, type] = {}
    for number, line in enumerate(text.lines("utf-8-sig", "replace"), start=1):
        try:
            row = json.loads(line)
        except ValueError as reason:
            if not line.strip():
                continue
            return DataError(f"{text.display_name} line {number} is no JSON ({reason}): {excerpt(line.strip())}")
        if not isinstance(row, dict):
            found = f"{text.display_name} line {number} holds {excerpt(line.strip())}"
            return DataError(f"{found}; expected an object, {{...}}")
        for name, value in row.items():
            kind = float if type(value) is int else type(value)
            if value is not None and kinds.setdefault(name, kind) is not kind:
                return DataError(
                    f"{text.display_name} line {number}: {name!r} is {excerpt(json.dumps(value))}, "
                    f"and of another type before; write the values of a key alike"
                )
    return DataError(f"{text.display_name} cannot be read as JSON lines: {one_line(str(error))}")
