"""The column, and the level, word or number, that every feature comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torchlogit.data.encoding.column_kind import ColumnKind, units_of, zero_of
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
    return (*_of_columns(schema), *_hashed(schema))


def _of_columns(schema: Schema) -> Iterator[FeatureOrigin]:
    for column in schema.columns:
        for feature, unit, zero in zip(column.feature_names, units_of(column), zero_of(column), strict=True):
            part = feature.removeprefix(column.name)
            level = part.removeprefix("=") if part else None
            yield FeatureOrigin(feature, column.name, column.kind, level, unit, zero)


def _hashed(schema: Schema) -> Iterator[FeatureOrigin]:
    own = len(schema.feature_names) - schema.n_hashed
    for place, feature in enumerate(schema.feature_names[own:]):
        yield FeatureOrigin(feature, None, ColumnKind.HASHED, str(place), 1.0, 0.0)
