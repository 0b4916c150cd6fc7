"""The table of column kinds. A new kind is one file with its record, learner and encoder, and one entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa

from torchlogit.data.encoding.categorical import CategoricalColumn, CategoricalEncoder
from torchlogit.data.encoding.column_kind import Column, ColumnEncoder, ColumnKind, ColumnLearner, LearningLimits
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.numeric import NumericColumn, NumericEncoder
from torchlogit.data.encoding.numeric_or_categorical import NumericOrCategoricalLearner
from torchlogit.data.encoding.text import HashedTextColumn, HashedTextLearner, TextColumn, TextEncoder, TextLearner
from torchlogit.data.encoding.vectors import VectorColumn, VectorEncoder, VectorLearner
from torchlogit.data.sparse_vectors import is_vector_type


class Kind(NamedTuple):
    """The record class of a column kind, and encoder(record, start), which makes the encoder of such a column.

    start: index of the column's first feature. encoder is None for a kind without features of its own.
    """

    record: type[Column]
    encoder: Callable[[Any, int], ColumnEncoder] | None


KINDS = {
    ColumnKind.NUMERIC: Kind(NumericColumn, NumericEncoder),
    ColumnKind.BOOLEAN: Kind(NumericColumn, NumericEncoder),
    ColumnKind.CATEGORICAL: Kind(CategoricalColumn, CategoricalEncoder),
    ColumnKind.HASHED: Kind(HashedColumn, None),
    ColumnKind.TEXT: Kind(TextColumn, TextEncoder),
    ColumnKind.HASHED_TEXT: Kind(HashedTextColumn, TextEncoder),
    ColumnKind.VECTOR: Kind(VectorColumn, VectorEncoder),
}


def learner_of(
    name: str, type_: pa.DataType, role: str, hash_bits: int | None, limits: LearningLimits
) -> ColumnLearner:
    """The learner of a column of this Arrow type. role: numeric, categorical, text, or "" if the values decide."""
    if role == "text":
        return TextLearner(name, limits) if hash_bits is None else HashedTextLearner(name, hash_bits)
    if is_vector_type(type_) and not role:
        return VectorLearner(name)
    return NumericOrCategoricalLearner(name, role, limits, hashed=hash_bits is not None)
