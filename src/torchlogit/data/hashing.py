"""Levels hashed: level L of column C is +1 or -1 at a place that the hash of the text C=L says.

The hash is MurmurHash3 (32 bits, seed 0) of the UTF-8 text, as a signed number h: the place is |h| modulo 2^bits, the
sign that of h: as in scikit-learn's FeatureHasher (Weinberger et al. 2009, arXiv:0902.2206). Levels that training has
not seen have their place, too.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction import FeatureHasher

from torchlogit.data.columns import as_levels
from torchlogit.data.features import Features
from torchlogit.records import HashedColumn, Schema


def learn_hashed(name: str, column: pa.ChunkedArray) -> HashedColumn:
    """What is kept of a column to be hashed: how many levels there are, a missing value being one."""
    levels = as_levels(column)
    return HashedColumn(name, len(levels.texts) + int((levels.codes < 0).any()))


def encode_hashed(column: HashedColumn, values: pa.ChunkedArray, bits: int, out: Features) -> None:
    """Adds each row's level at its place among the hashed features."""
    levels = as_levels(values)
    texts = [*levels.texts.to_pylist(), "NA"]
    hasher = FeatureHasher(2**bits, input_type="string", dtype=np.float32)
    hashed = hasher.transform([[f"{column.name}={text}"] for text in texts])
    out.put(np.arange(len(levels.codes)), hashed.indices[levels.codes], hashed.data[levels.codes])


def share_that_collides(schema: Schema) -> float:
    """The expected share of the levels seen in training that share their place with another.

    >>> share_that_collides(Schema((HashedColumn("a", 2),), hash_bits=1))
    0.5
    """
    n_levels = sum(column.n_levels for column in schema.hashed)
    return float(-np.expm1((n_levels - 1) * np.log1p(-1 / schema.n_hashed))) if n_levels else 0.0
