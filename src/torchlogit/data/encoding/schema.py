"""Schema: what was learned about a table's columns; it is written to JSON and read back exactly, with checks."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar, cast

import numpy as np

from torchlogit.data.encoding.column_kind import Column, ColumnKind, DroppedColumn, HasUnits
from torchlogit.data.encoding.features import Real
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.kinds import KINDS
from torchlogit.data.wording import excerpt
from torchlogit.errors import ModelFileError

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Schema:
    """What an encoder learned: the records of the columns, in table order, and of the columns that are left out.

    crosses: the pairs of columns of which columns A:B are made. hash_bits: hashed columns share the last 2^hash_bits
    features. standardized: whether numbers are encoded as (x - mean) / scale, in float32; otherwise they are encoded as
    they are, in float64, and mean is 0 and scale 1.
    """

    columns: tuple[Column, ...]
    dropped: tuple[DroppedColumn, ...] = ()
    crosses: tuple[tuple[str, str], ...] = ()
    hash_bits: int | None = None
    standardized: bool = True

    @property
    def dtype(self) -> Real:
        """The type of the features."""
        return np.float32 if self.standardized else np.float64

    @property
    def hashed(self) -> tuple[HashedColumn, ...]:
        """The columns that share the hashed features."""
        return tuple(column for column in self.columns if isinstance(column, HashedColumn))

    @property
    def inputs(self) -> list[str]:
        """The names of the table's columns that the encoder needs, including those that crosses are made of."""
        crosses = {f"{first}:{second}" for first, second in self.crosses}
        own = [column.name for column in self.columns if column.name not in crosses]
        return list(dict.fromkeys([*own, *(name for cross in self.crosses for name in cross)]))

    @property
    def n_hashed(self) -> int:
        """The number of features that the hashed columns share."""
        return 2**self.hash_bits if self.hash_bits is not None and self.hashed else 0

    @property
    def n_features(self) -> int:
        """The number of features."""
        return sum(column.n_features for column in self.columns) + self.n_hashed

    @property
    def feature_names(self) -> list[str]:
        """The names of all features, in order."""
        own = [name for column in self.columns for name in column.feature_names]
        return own + [f"hash[{place}]" for place in range(self.n_hashed)]

    @property
    def units(self) -> list[float]:
        """How much each feature changes per unit of its column, or with the presence of its level or word."""
        own = (each.units if isinstance(each, HasUnits) else [1.0] * each.n_features for each in self.columns)
        return [*chain.from_iterable(own), *[1.0] * self.n_hashed]

    @property
    def zero(self) -> list[float]:
        """The value of each feature when every number is 0 and no level or word is present."""
        own = (each.zero if isinstance(each, HasUnits) else [0.0] * each.n_features for each in self.columns)
        return [*chain.from_iterable(own), *[0.0] * self.n_hashed]

    @property
    def filled(self) -> float:
        """The mean number of features that are not zero in a row."""
        return sum(column.filled for column in self.columns)

    @property
    def share_that_collides(self) -> float:
        """The expected share of the hashed levels in training that share their feature with another level.

        >>> Schema((HashedColumn("a", 2),), hash_bits=1).share_that_collides
        0.5
        """
        n_levels = sum(column.n_levels for column in self.hashed)
        return -math.expm1((n_levels - 1) * math.log1p(-1 / self.n_hashed)) if n_levels else 0.0


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """The schema as dicts, lists, text, booleans and numbers, which `schema_from_json` turns back into the same schema.

    >>> schema = Schema((HashedColumn("job", 7),), (DroppedColumn("id", "on request"),), hash_bits=4)
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
        "standardized": schema.standardized,
    }


def schema_from_json(data: object) -> Schema:
    """The schema that `schema_to_json` wrote, also in earlier versions.

    The first one had neither crosses nor hash_bits, and both it and the second one had only standardized numbers.

    Raises ModelFileError for an unexpected or missing key, and for a value of the wrong type or out of range.
    """
    if isinstance(data, dict) and {*data} == {"columns", "dropped"}:
        data = data | {"crosses": [], "hash_bits": None}
    if isinstance(data, dict) and {*data} == {"columns", "dropped", "crosses", "hash_bits"}:
        data = data | {"standardized": True}
    values = _checked_keys("the schema", data, ["columns", "dropped", "crosses", "hash_bits", "standardized"])
    for key in ("columns", "dropped", "crosses"):
        _check(isinstance(values[key], list), "the schema", key, values[key])
    for pair in values["crosses"]:
        _check(_are_texts(pair) and len(pair) == 2, "the schema", "crosses", pair)
    bits = values["hash_bits"]
    _check(bits is None or (_is_count(bits) and 1 <= bits < 32), "the schema", "hash_bits", bits)
    _check(type(values["standardized"]) is bool, "the schema", "standardized", values["standardized"])
    return Schema(
        columns=tuple(_column_from_json(column) for column in values["columns"]),
        dropped=tuple(_record_from_json(DroppedColumn, column) for column in values["dropped"]),
        crosses=tuple((first, second) for first, second in values["crosses"]),
        hash_bits=bits,
        standardized=values["standardized"],
    )


def _as_json(record: Column | DroppedColumn) -> dict[str, Any]:
    data = {field.name: getattr(record, field.name) for field in dataclasses.fields(cast(Any, record))}
    return {key: _as_plain(value) for key, value in data.items()}


def _as_plain(value: object) -> object:
    if isinstance(value, ColumnKind):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _column_from_json(data: object) -> Column:
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind not in list(ColumnKind):
        known = ", ".join(ColumnKind)
        raise ModelFileError(
            f"the schema has a column of kind {excerpt(kind)}, where one of {known} was expected; the file is damaged, "
            f"or of a later version of torchlogit"
        )
    return _record_from_json(KINDS[ColumnKind(kind)].record, data)


def _record_from_json(record: type[_Record], data: object) -> _Record:
    what = f"a {record.__name__} in the schema"
    types = {field.name: str(field.type) for field in dataclasses.fields(cast(Any, record))}
    values = _checked_keys(what, data, list(types))
    for key, value in values.items():
        is_valid, _ = _FORMS[types[key]]
        _check(is_valid(value), what, key, value)
    return record(**{key: _FORMS[types[key]][1](value) for key, value in values.items()})


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


def _are_distinct_texts(value: object) -> bool:
    return _are_texts(value) and len({*cast(list[str], value)}) == len(cast(list[str], value))


_FORMS: dict[str, tuple[Callable[[Any], bool], Callable[[Any], Any]]] = {
    "str": (lambda value: type(value) is str, str),
    "bool": (lambda value: type(value) is bool, bool),
    "int": (_is_count, int),
    "float": (_is_finite, float),
    "Positive": (lambda value: _is_finite(value) and value > 0, float),
    "ColumnKind": (lambda value: value in list(ColumnKind), ColumnKind),
    "tuple[str, ...]": (_are_distinct_texts, tuple),
    "tuple[int, ...]": (lambda value: isinstance(value, list) and all(map(_is_count, value)), tuple),
}
"""For each type of a record's fields: a check of the JSON value, and its conversion to the field's type."""
