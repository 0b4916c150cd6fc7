"""Levels hashed: level L of column C is +1 or -1 at a place that the hash of the text C=L says.

The hash is MurmurHash3 (32 bits, seed 0) of the UTF-8 text, as a signed number h: the place is |h| modulo 2^bits, the
sign that of h: as in scikit-learn's FeatureHasher (Weinberger et al. 2009, arXiv:0902.2206). Levels that training has
not seen have their place, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from torchlogit.data.columns import as_levels
from torchlogit.data.encoding.features import Slot
from torchlogit.records import HashedColumn, Schema


@dataclass(frozen=True, slots=True)
class HashEncoder:
    """Encodes each row's level as a sign at its place among the hashed features, 2^bits from `start` on."""

    column: HashedColumn
    bits: int
    start: int

    def encode(self, values: pa.ChunkedArray) -> Slot:
        from torchlogit.kernels.hashes import hashes_32

        levels = as_levels(values)
        texts = pa.concat_arrays([levels.texts.cast(pa.large_string()), pa.array(["NA"], pa.large_string())])
        name, equals = (pa.scalar(text, pa.large_string()) for text in (self.column.name, "="))
        hashes = hashes_32(pc.binary_join_element_wise(name, texts, equals))
        places = (np.abs(hashes.astype(np.int64)) % 2**self.bits + self.start).astype(np.int32)
        signs = np.where(hashes < 0, -1, 1).astype(np.float32)
        return Slot(places[levels.codes], signs[levels.codes])


def share_that_collides(schema: Schema) -> float:
    """The expected share of the levels seen in training that share their place with another.

    >>> share_that_collides(Schema((HashedColumn("a", 2),), hash_bits=1))
    0.5
    """
    n_levels = sum(column.n_levels for column in schema.hashed)
    return float(-np.expm1((n_levels - 1) * np.log1p(-1 / schema.n_hashed))) if n_levels else 0.0
