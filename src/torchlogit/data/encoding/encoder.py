"""The encoder of tables: turns rows into features, with what was learned about each column (learn_encoder.py).

    numeric       (x - mean) / scale, scale being the standard deviation (ddof 0), or x; missing becomes the mean
    boolean       1 and 0; missing becomes the share of true
    categorical   one-hot: a feature of 0 and 1 per level, named COLUMN=level, levels in the order of their text
    hashed        all levels of all categorical columns share 2^hash_bits features, named hash[INDEX] (hashing.py)
    text          a feature per word, named COLUMN=word: tf-idf (text.py)
    vectors       sparse vectors, unchanged; feature 7 is named COLUMN7 (vectors.py)

If a numeric, boolean or categorical column had missing values in training, it has one more feature, COLUMN=NA, which is
1 if the value is missing. No level has that name, since the text NA itself stands for a missing value.

Features are float32, or float64 where numbers are encoded as they are (`Schema.standardized`): in float32, columns that
are combinations of others would no longer be. The values of texts and vectors are always rounded to float32.

The features are a CSR matrix if there are more than MAX_DENSE_FEATURES of them and CSR takes less memory; else a dense
matrix. Both hold the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.block import BLOCK_ROWS, as_block, recut
from torchlogit.data.encoding.column_kind import ColumnEncoder
from torchlogit.data.encoding.crosses import with_crosses
from torchlogit.data.encoding.features import (
    EncodedColumn,
    Matrix,
    Real,
    as_sparse,
    in_threads,
    merged,
    put_dense,
    stacked,
    threads,
)
from torchlogit.data.encoding.hashing import HashEncoder
from torchlogit.data.encoding.kinds import KINDS
from torchlogit.data.encoding.row_warnings import RowWarnings, added, messages
from torchlogit.data.encoding.schema import Schema
from torchlogit.data.encoding.text import HashedTextColumn
from torchlogit.data.encoding.vectors import VectorColumn
from torchlogit.errors import DataError

MAX_DENSE_FEATURES = 128  # up to this number of features the matrix is dense, since it is small; beyond it may be CSR


@dataclass(frozen=True, slots=True)
class Encoded:
    """Encoded rows: values (n, n_features), dense in C order or CSR; and warnings about their values."""

    values: Matrix
    warnings: RowWarnings

    @property
    def messages(self) -> tuple[str, ...]:
        """The warnings, one sentence each."""
        return messages(self.warnings)


class Encoder:
    """Encodes tables as features, according to a schema.

    schema: what was learned about each column. columns: names of all columns of the training table, in its order.

    >>> table = pa.table({"age": [20, 30, 40], "job": ["clerk", "smith", "clerk"]})
    >>> read = lambda names: iter([as_block(table.select(names))])
    >>> from torchlogit.data.encoding.learn_encoder import EncoderOptions, learn_encoder
    >>> encoder, warnings = learn_encoder(read, ["age", "job"], EncoderOptions())
    >>> encoder.schema.feature_names
    ['age', 'job=clerk', 'job=smith']
    >>> encoder.encode(table).values.round(2).tolist()
    [[-1.2200000286102295, 1.0, 0.0], [0.0, 0.0, 1.0], [1.2200000286102295, 1.0, 0.0]]
    """

    def __init__(
        self, schema: Schema, columns: Sequence[str] | None = None, *, max_dense_features: int = MAX_DENSE_FEATURES
    ) -> None:
        _refuse_unusable(schema)
        self.schema = schema
        self.columns = tuple(_columns_of(schema) if columns is None else columns)
        self.n_features = schema.n_features
        # A float32 feature takes 4 bytes in a dense matrix; a nonzero feature and its index take 8 bytes in CSR.
        self.is_sparse = self.n_features > max_dense_features and 2 * schema.filled < self.n_features
        self._encoders: dict[str, ColumnEncoder] = {}
        start = 0
        for column in schema.columns:
            encoder = KINDS[column.kind].encoder
            if encoder is not None:
                self._encoders[column.name] = encoder(column, start)
                start += column.n_features
        self._hashed = [HashEncoder(column, schema.hash_bits or 0, start) for column in schema.hashed]

    def encode(self, table: pa.Table, block_rows: int = BLOCK_ROWS) -> Encoded:
        """The features of a table, and warnings about levels and missing values that did not occur in training.

        The columns may come in any order; columns that training did not have are ignored.
        """
        _refuse_lacking(self.schema, table.column_names)
        n_rows, n_features = table.num_rows, self.n_features
        dtype = self.schema.dtype
        values = None if self.is_sparse else _zeros(n_rows, n_features, dtype)
        matrices: list[csr_array] = []
        warnings: RowWarnings = ()
        with threads(n_rows) as pool:
            for block in recut([as_block(table)], block_rows) if n_rows else [as_block(table)]:
                with block.locating_errors():
                    columns, more = self._encode(block.table, pool)
                warnings = added(warnings, more)
                if values is None:
                    matrices.append(as_sparse(columns, (len(block), n_features), pool, dtype))
                else:
                    put_dense(columns, values[block.first : block.first + len(block)], pool)
        return Encoded(stacked(matrices) if values is None else values, warnings)

    def _encode(self, table: pa.Table, pool: ThreadPoolExecutor | None) -> tuple[list[EncodedColumn], RowWarnings]:
        table = with_crosses(table, self.schema.crosses)
        encoders = self._encoders
        encoded = in_threads(lambda name: encoders[name].encode(table.column(name)), list(encoders), pool)
        hashed = in_threads(lambda each: each.encode(table.column(each.column.name)), self._hashed, pool)
        columns = [column for own, _ in encoded for column in own] + (merged(hashed) if hashed else [])
        return columns, tuple(warning for _, own in encoded for warning in own)


def _columns_of(schema: Schema) -> list[str]:
    crossed = {f"{first}:{second}" for first, second in schema.crosses}
    names = [column.name for column in schema.columns] + [column.name for column in schema.dropped]
    return [name for name in names if name not in crossed]


def _refuse_unusable(schema: Schema) -> None:
    if not schema.columns:
        reasons = "; ".join(f"{column.name!r}: {column.reason}" for column in schema.dropped)
        raise DataError(f"no column is left to learn from ({reasons or 'the table has none'}); keep one that varies")
    named = (column for column in schema.columns if not isinstance(column, (VectorColumn, HashedTextColumn)))
    times = Counter(name for column in named for name in column.feature_names)
    for name in (name for name, count in times.most_common(1) if count > 1):
        raise DataError(f"two features would be called {name!r}; rename the columns they come from")


def _refuse_lacking(schema: Schema, given: Sequence[str]) -> None:
    lacking = [name for name in schema.inputs if name not in given]
    if lacking:
        which = f"column {lacking[0]!r} is" if len(lacking) == 1 else f"columns {', '.join(map(repr, lacking))} are"
        raise DataError(
            f"{which} missing; the model was trained on {'it' if len(lacking) == 1 else 'them'}", column=lacking[0]
        )


def _zeros(n_rows: int, n_features: int, dtype: Real) -> NDArray[Any]:
    try:
        return np.zeros((n_rows, n_features), dtype)
    except MemoryError:
        size = n_rows * n_features * np.dtype(dtype).itemsize / 2**30
        raise DataError(
            f"{n_rows} rows of {n_features} features take {size:.0f} GiB, more memory than there is; "
            f"leave out the columns with the most levels (drop or --drop)"
        ) from None
