"""A `Schema` as JSON and back, exactly; nothing that does not fit is let in."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from torchlogit.data.wording import excerpt
from torchlogit.errors import ModelFileError
from torchlogit.records import CategoricalColumn, Column, ColumnKind, DroppedColumn, NumericColumn, Schema

_Record = TypeVar("_Record", NumericColumn, CategoricalColumn, DroppedColumn)


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
    }


def schema_from_json(data: object) -> Schema:
    """The schema that `schema_to_json` wrote.

    Raises ModelFileError for a key too many, one too few, and a value that cannot be.
    """
    given = _checked_keys("the schema", data, ["columns", "dropped"])
    for key, value in given.items():
        _check(isinstance(value, list), "the schema", key, value)
    return Schema(
        columns=tuple(_column_from_json(column) for column in given["columns"]),
        dropped=tuple(_record_from_json(DroppedColumn, column) for column in given["dropped"]),
    )


def _as_json(record: Column | DroppedColumn) -> dict[str, Any]:
    data = dataclasses.asdict(record)
    if isinstance(record, DroppedColumn):
        return data
    changed: dict[str, Any] = {"kind": record.kind.value}
    if isinstance(record, CategoricalColumn):
        changed["levels"] = list(record.levels)
    return data | changed


def _column_from_json(data: object) -> Column:
    if isinstance(data, dict) and data.get("kind") == ColumnKind.CATEGORICAL:
        return _record_from_json(CategoricalColumn, data)
    return _record_from_json(NumericColumn, data)


def _record_from_json(record: type[_Record], data: object) -> _Record:
    what = f"a {record.__name__} in the schema"
    given = _checked_keys(what, data, [field.name for field in dataclasses.fields(record)])
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


def _are_levels(value: object) -> bool:
    return isinstance(value, list) and all(type(level) is str for level in value) and len({*value}) == len(value)


_FORMS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    "name": (lambda value: type(value) is str, str),
    "reason": (lambda value: type(value) is str, str),
    "kind": (lambda value: value in list(ColumnKind), ColumnKind),
    "mean": (_is_finite, float),
    "scale": (lambda value: _is_finite(value) and value > 0, float),
    "fill": (_is_finite, float),
    "has_missing": (lambda value: type(value) is bool, bool),
    "levels": (_are_levels, tuple),
}
