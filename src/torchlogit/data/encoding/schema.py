"""A `Schema` as JSON and back, exactly; nothing that does not fit is let in."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from torchlogit.data.wording import excerpt
from torchlogit.errors import ModelFileError
from torchlogit.records import (
    CategoricalColumn,
    Column,
    ColumnKind,
    DroppedColumn,
    HashedColumn,
    HashedTextColumn,
    NumericColumn,
    Schema,
    TextColumn,
    VectorColumn,
)

_Record = TypeVar("_Record")
_RECORDS: dict[object, type[Column]] = {
    ColumnKind.CATEGORICAL: CategoricalColumn,
    ColumnKind.HASHED: HashedColumn,
    ColumnKind.TEXT: TextColumn,
    ColumnKind.HASHED_TEXT: HashedTextColumn,
    ColumnKind.VECTOR: VectorColumn,
}


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """The schema in dicts, lists, text, truths and floats, for `schema_from_json` to read back exactly.

    >>> schema = Schema((CategoricalColumn("job", ("clerk", "smith"), False),), (DroppedColumn("id", "on request"),))
    >>> schema_to_json(schema)["dropped"]
    [{'name': 'id', 'reason': 'on request'}]
    >>> schema_from_json(schema_to_json(schema)) == schema
    True
    """
    return {
        "columns": [_as_json(column) for column in schema.columns],
        "dropped": [_as_json(column) for column in schema.dropped],
        "crosses": [list(pair) for pair in schema.crosses],
        "hash_bits": schema.hash_bits,
    }


def schema_from_json(data: object) -> Schema:
    """The schema that `schema_to_json` wrote; in the first format there were neither crosses nor hash_bits.

    Raises ModelFileError for a key too many, one too few, and a value that cannot be.
    """
    if isinstance(data, dict) and {*data} == {"columns", "dropped"}:
        data = data | {"crosses": [], "hash_bits": None}
    given = _checked_keys("the schema", data, ["columns", "dropped", "crosses", "hash_bits"])
    for key in ("columns", "dropped", "crosses"):
        _check(isinstance(given[key], list), "the schema", key, given[key])
    for pair in given["crosses"]:
        _check(_are_texts(pair) and len(pair) == 2, "the schema", "crosses", pair)
    bits = given["hash_bits"]
    _check(bits is None or (_is_count(bits) and 1 <= bits < 32), "the schema", "hash_bits", bits)
    return Schema(
        columns=tuple(_column_from_json(column) for column in given["columns"]),
        dropped=tuple(_record_from_json(DroppedColumn, column) for column in given["dropped"]),
        crosses=tuple((first, second) for first, second in given["crosses"]),
        hash_bits=bits,
    )


def _as_json(record: Column | DroppedColumn) -> dict[str, Any]:
    data = {field.name: getattr(record, field.name) for field in dataclasses.fields(cast(Any, record))}
    return {key: _plain(value) for key, value in data.items()}


def _plain(value: object) -> object:
    if isinstance(value, ColumnKind):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _column_from_json(data: object) -> Column:
    kind = data.get("kind") if isinstance(data, dict) else None
    return _record_from_json(_RECORDS.get(kind, NumericColumn) if isinstance(kind, str) else NumericColumn, data)


def _record_from_json(record: type[_Record], data: object) -> _Record:
    what = f"a {record.__name__} in the schema"
    given = _checked_keys(what, data, [field.name for field in dataclasses.fields(cast(Any, record))])
    values = {}
    for key, value in given.items():
        is_valid, form = _FORMS[key]
        _check(is_valid(value), what, key, value)
        values[key] = form(value)
    return record(**values)


def _checked_keys(what: str, data: object, keys: Sequence[str]) -> dict[str, Any]:
    if not isinstance(data, dict) or set(data) != set(keys):
        found = ", ".join(map(str, data)) if isinstance(data, dict) else excerpt(data)
        raise ModelFileError(f"{what} holds {found}, where {', '.join(keys)} were expected; the file is damaged")
    return data


def _check(is_valid: bool, what: str, key: str, value: object) -> None:
    if not is_valid:
        raise ModelFileError(f"{what} has {excerpt(value)} as its {key}; the file is damaged")


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and abs(cast(float, value)) <= sys.float_info.max


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(type(text) is str for text in value)


def _are_levels(value: object) -> bool:
    return _are_texts(value) and len({*cast(list[str], value)}) == len(cast(list[str], value))


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


_FORMS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    "name": (lambda value: type(value) is str, str),
    "reason": (lambda value: type(value) is str, str),
    "kind": (lambda value: value in list(ColumnKind), ColumnKind),
    "mean": (_is_finite, float),
    "scale": (lambda value: _is_finite(value) and value > 0, float),
    "fill": (_is_finite, float),
    "has_missing": (lambda value: type(value) is bool, bool),
    "levels": (_are_levels, tuple),
    "words": (_are_levels, tuple),
    "counts": (_are_counts, tuple),
    "n_levels": (_is_count, int),
    "n_texts": (_is_count, int),
    "filled": (_is_finite, float),
    "first": (_is_count, int),
    "size": (_is_count, int),
}
