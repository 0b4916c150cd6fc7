"""The column, and the level, word or number, that every feature comes from."""

from __future__ import annotations

from dataclasses import dataclass

from torchlogit.data.encoding.column_kind import ColumnKind
from torchlogit.data.encoding.schema import Schema


@dataclass(frozen=True, slots=True)
class FeatureOrigin:
    """Where one feature comes from.

    column: of the table; None for a feature that hashed columns share. level: the category, the word or the index that
    it stands for, "NA" where it stands for a missing value; None for a number. unit: what one unit of the column, or
    a presence, adds to the feature. zero: the feature where the number is 0, or nothing is present. So a coefficient w
    is w * unit per unit of the column, and the columns' zero adds zero * w to the intercept.
    """

    feature: str
    column: str | None
    kind: ColumnKind
    level: str | None
    unit: float
    zero: float


def feature_origins(schema: Schema) -> tuple[FeatureOrigin, ...]:
    """The origin of every feature, in the order of `schema.feature_names`."""
    columns = [column for column in schema.columns for _ in range(column.n_features)]
    of_columns = zip(schema.feature_names, columns, schema.units, schema.zero, strict=False)
    own = [
        FeatureOrigin(feature, column.name, column.kind, _level(feature, column.name), unit, zero)
        for feature, column, unit, zero in of_columns
    ]
    hashed = enumerate(schema.feature_names[len(own) :])  # which come last
    return (*own, *(FeatureOrigin(name, None, ColumnKind.HASHED, str(place), 1.0, 0.0) for place, name in hashed))


def _level(feature: str, column: str) -> str | None:
    part = feature.removeprefix(column)
    return part.removeprefix("=") if part else None
