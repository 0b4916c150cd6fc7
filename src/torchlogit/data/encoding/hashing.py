"""Hashed columns: level L of column C is +1 or -1 in the feature that the hash of the text "C=L" selects.

The hash is MurmurHash3 (32 bits, seed 0) of the UTF-8 text, as a signed number h. The feature's index is |h| modulo
2^bits, and its sign is that of h, as in scikit-learn's FeatureHasher (Weinberger et al. 2009, arXiv:0902.2206). All
hashed columns share the 2^bits features. A level that did not occur in training is hashed like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from torchlogit.data.columns import as_levels
from torchlogit.data.encoding.column_kind import ColumnKind
from torchlogit.data.encoding.features import OneHotColumn


@dataclass(frozen=True, slots=True)
class HashedColumn:
    """A column whose levels are hashed. n_levels: the number of levels in training.

    It has no features of its own: all hashed columns share the last 2^hash_bits features.
    """

    name: str
    n_levels: int
    kind: ColumnKind = ColumnKind.HASHED
    n_features: ClassVar[int] = 0
    filled: ClassVar[float] = 1.0

    @property
    def feature_names(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class HashEncoder:
    """Encodes each row's level as +1 or -1 in one of 2^bits features, the first of which has index `start`."""

    column: HashedColumn
    bits: int
    start: int

    def encode(self, values: pa.ChunkedArray) -> OneHotColumn:
        from torchlogit.kernels.hashes import hashes_32

        levels = as_levels(values)
        texts = pa.concat_arrays([levels.texts.cast(pa.large_string()), pa.array(["NA"], pa.large_string())])
        name, equals = (pa.scalar(text, pa.large_string()) for text in (self.column.name, "="))
        hashes = hashes_32(pc.binary_join_element_wise(name, texts, equals))
        places = (np.abs(hashes.astype(np.int64)) % 2**self.bits + self.start).astype(np.int32)
        signs = np.where(hashes < 0, -1, 1).astype(np.float32)
        return OneHotColumn(places[levels.codes], signs[levels.codes])
