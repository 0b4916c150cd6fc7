"""JSON lines: an object per line, read by pyarrow; where it gives up, Python's json finds the line to blame."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.json as pajson

from torchlogit.data.wording import excerpt, one_line
from torchlogit.errors import DataError

_BLOCK_BYTES = 16 << 20
_MOST_BYTES = 1 << 30  # of a line


def read_json_lines(path: Path, shown: str, compression: str | None) -> pa.Table:
    """The file's objects as rows: text stays text, whatever it looks like; what lacks a key is missing there."""
    table = _read(path, shown, compression, None)
    # pyarrow takes text that looks like a time for one.
    times = [entry.name for entry in table.schema if pa.types.is_temporal(entry.type)]
    if not times:
        return table
    return _read(path, shown, compression, pa.schema([(name, pa.string()) for name in times]))


def _read(path: Path, shown: str, compression: str | None, schema: pa.Schema | None) -> pa.Table:
    block = _BLOCK_BYTES
    while True:
        try:
            with pa.input_stream(str(path), compression=compression) as stream:
                return pajson.read_json(
                    stream,
                    read_options=pajson.ReadOptions(block_size=block),
                    parse_options=pajson.ParseOptions(explicit_schema=schema),
                )
        except pa.ArrowInvalid as error:
            if "straddling" in str(error) and block < _MOST_BYTES:
                block *= 8
                continue
            _refuse_line(path, shown, compression)
            raise DataError(f"{shown} cannot be read as JSON lines: {one_line(str(error))}") from None


def _refuse_line(path: Path, shown: str, compression: str | None) -> None:
    """Raises the error of the first line that is no JSON object, or changes the type of a value."""
    kinds: dict[str, type] = {}
    for number, line in enumerate(_lines(path, compression), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if not line.strip():
                continue
            raise DataError(f"{shown} line {number} is no JSON ({error}): {excerpt(line.strip())}") from None
        if not isinstance(row, dict):
            raise DataError(f"{shown} line {number} holds {excerpt(line.strip())}; expected an object, {{...}}")
        for name, value in row.items():
            kind = float if type(value) is int else type(value)
            if value is not None and kinds.setdefault(name, kind) is not kind:
                raise DataError(
                    f"{shown} line {number}: {name!r} is {excerpt(json.dumps(value))}, and of another type before; "
                    f"write the values of a key alike"
                )


def _lines(path: Path, compression: str | None) -> Iterator[str]:
    opened: Any = gzip.open if compression == "gzip" else open
    with opened(path, "rt", encoding="utf-8", errors="replace") as lines:
        yield from cast(IO[str], lines)
