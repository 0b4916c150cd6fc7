"""Maps every feature to the column, and to the level, word or number, that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

from torchlogit.data.encoding.column_kind import ColumnKind
from torchlogit.data.encoding.schema import Schema


@dataclass(frozen=True, slots=True)
class FeatureOrigin:
    """Where a feature comes from.

    column: the table's column; None for a feature that hashed columns share. level: the category, word or index that
    the feature indicates, "NA" if it indicates a missing value; None for a number. unit: how much the feature changes
    per unit of the column, or with the presence of the level. zero: the feature's value when the number is 0, or the
    level is absent. The feature's coefficient w is w * unit per unit of the column, and adds w * zero to the intercept.
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
