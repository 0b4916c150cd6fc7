"""Combines the schemas of several files: the same columns, each of a type that holds the values of all files."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from torchlogit.data.wording import examples
from torchlogit.errors import DataError


def common_schema(files: Sequence[tuple[str, pa.Schema]]) -> pa.Schema:
    """The columns in the order of the first file, with types for the values of all; DataError if files do not match.

    files: the display name and the schema of each.

    >>> a, b = pa.schema([("x", pa.int16()), ("y", pa.string())]), pa.schema([("y", pa.string()), ("x", pa.float32())])
    >>> common_schema([("a", a), ("b", b)]).types
    [DataType(float), DataType(string)]
    """
    first_name, first = files[0]
    common = first.remove_metadata()
    for name, schema in files[1:]:
        _refuse_other_columns(name, schema.names, first_name, first.names)
        found = pa.schema([schema.field(column) for column in common.names])
        try:
            common = _unified(common, found)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            raise _differing_types(files, common.names) from None
    return common


def _unified(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.unify_schemas([schema, other], promote_options="permissive")


def _refuse_other_columns(name: str, columns: Sequence[str], first_name: str, expected: Sequence[str]) -> None:
    lacking = [column for column in expected if column not in columns]
    extra = [column for column in columns if column not in expected]
    if lacking or extra:
        lacks = f"lacks {examples(lacking)}" if lacking else ""
        adds = f"adds {examples(extra)}" if extra else ""
        raise DataError(
            f"{name} has other columns than {first_name}: it {' and '.join(filter(None, (lacks, adds)))}; "
            f"give files with the same columns"
        )


def _differing_types(files: Sequence[tuple[str, pa.Schema]], columns: Sequence[str]) -> DataError:
    """The error about the first column whose types cannot be unified, and the first file that differs in it."""
    first_name, first = files[0]
    for column in columns:
        known = pa.schema([first.field(column)])
        for name, schema in files[1:]:
            field = schema.field(column)
            try:
                known = _unified(known, pa.schema([field]))
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                what = f"column {column!r} is {known.field(column).type} in {first_name} and {field.type} in {name}"
                return DataError(f"{what}; write it as one type")
    return DataError(f"{first_name} and others have columns of different types; write them as one type")
