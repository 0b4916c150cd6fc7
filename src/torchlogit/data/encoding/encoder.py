"""A table turned into numbers: what each column holds is decided over all its rows, kept in a Schema, and applied.

    numeric       (x - mean) / scale, scale being the standard deviation (ddof 0); missing becomes the mean
    boolean       1 and 0; missing becomes the share of true
    categorical   one column of 0 and 1 per level, named COLUMN=level, levels in the order of their text
    hashed        all levels of all categorical columns among 2^hash_bits columns, named hash[PLACE] (hashing.py)
    text          one column per word, named COLUMN=word: tf-idf (text.py)
    vectors       sparse vectors, as they are; column 7 is named COLUMN7 (vectors.py)

Where a column had missing values in training, one more column, COLUMN=NA, is 1 where the value is
missing. No level can have that name: the text NA itself stands for a missing value.

The features are a CSR matrix where that is smaller and there are more than WIDE of them, else a dense one: the same
numbers, so that nothing that is read off a model depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from torchlogit.data.block import BLOCK_ROWS, recut, whole
from torchlogit.data.encoding.categorical import LevelEncoder
from torchlogit.data.encoding.crosses import checked_cross, with_crosses
from torchlogit.data.encoding.features import Matrix, Part, in_threads, put_dense, sparse, stacked, summed, threads
from torchlogit.data.encoding.hashing import HashEncoder
from torchlogit.data.encoding.learners import Read, learn_schema
from torchlogit.data.encoding.numeric import NumberEncoder
from torchlogit.data.encoding.remarks import Remarks, added, sentences
from torchlogit.data.encoding.text import TextEncoder
from torchlogit.data.encoding.vectors import VectorEncoder
from torchlogit.data.wording import meant
from torchlogit.errors import DataError
from torchlogit.records import (
    CategoricalColumn,
    HashedColumn,
    HashedTextColumn,
    NumericColumn,
    Schema,
    TextColumn,
    VectorColumn,
)

WIDE = 128  # features; up to so many, a dense matrix is small and quick
MAX_HASH_BITS = 24


@dataclass(frozen=True, slots=True)
class Encoded:
    """`values` (n, n_features), float32, dense in C order or CSR, and what deserves a look, as counts that add up."""

    values: Matrix
    remarks: Remarks

    @property
    def notices(self) -> tuple[str, ...]:
        """What deserves a look, one sentence each."""
        return sentences(self.remarks)


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How columns are to be read, where it is not left to their values: the parameters of `TableEncoder`.

    numeric, categorical, text: names of the columns of each kind. drop: names of the columns to leave out. crosses:
    pairs of columns, "A:B". hash_bits: all categories share 2^hash_bits features; None: a feature for each.
    """

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    drop: Sequence[str] = ()
    text: Sequence[str] = ()
    crosses: Sequence[str] = ()
    hash_bits: int | None = None

    def roles(self, columns: Sequence[str]) -> dict[str, str]:
        """The role of every column that is named; DataError for a name that is no column, or has two roles."""
        roles: dict[str, str] = {}
        for role in ("numeric", "categorical", "drop", "text"):
            for name in _listed(getattr(self, role)):
                if name not in columns:
                    raise DataError(f"{role} names {name!r}, and there is no such column; {meant(name, columns)}")
                if roles.setdefault(name, role) != role:
                    raise DataError(f"column {name!r} is named in {roles[name]} and in {role}; keep one", column=name)
        return roles

    def pairs(self, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """The two columns of every cross."""
        return tuple(checked_cross(cross, columns) for cross in _listed(self.crosses))

    def checked_bits(self) -> int | None:
        """hash_bits; DataError where it is out of range."""
        bits = self.hash_bits
        if bits is not None and not 1 <= bits <= MAX_HASH_BITS:
            raise DataError(f"hash_bits={bits!r}: expected a whole number from 1 to {MAX_HASH_BITS}, or None")
        return bits


class Encoder:
    """Encodes tables as float32 features, as its schema says.

    schema: what was learned of each column. columns: names of all columns of the training table, in its order.

    >>> table = pa.table({"age": [20, 30, 40], "job": ["clerk", "smith", "clerk"]})
    >>> encoder, _ = learn_encoder(lambda names: iter([whole(table.select(names))]), ["age", "job"], EncoderOptions())
    >>> encoder.schema.feature_names
    ['age', 'job=clerk', 'job=smith']
    >>> encoder.encode(table).values.round(2).tolist()
    [[-1.2200000286102295, 1.0, 0.0], [0.0, 0.0, 1.0], [1.2200000286102295, 1.0, 0.0]]
    """

    def __init__(self, schema: Schema, columns: Sequence[str] | None = None) -> None:
        _refuse_unusable(schema)
        self.schema = schema
        self.columns = tuple(_columns_of(schema) if columns is None else columns)
        self._own: dict[str, _ColumnEncoder] = {}
        start = 0
        for column in schema.columns:
            if not isinstance(column, HashedColumn):
                self._own[column.name] = _ENCODERS[type(column)](column, start)
                start += len(column.units)
        self._hashed = [HashEncoder(column, schema.hash_bits or 0, start) for column in schema.hashed]
        self.n_features = start + schema.n_hashed

    @property
    def is_sparse(self) -> bool:
        """Whether features are CSR, those of any rows: where that is smaller, and there are more than WIDE of them."""
        # A number costs 4 bytes in a dense matrix, and 8, with its index, in CSR.
        return self.n_features > WIDE and 2 * self.schema.filled < self.n_features

    def encode(self, table: pa.Table, block_rows: int = BLOCK_ROWS) -> Encoded:
        """The features of a table, and warnings of levels and missing values that training had not.

        The columns may come in any order, and others among them are ignored.
        """
        _refuse_lacking(self.schema, table.column_names)
        n_rows, n_features = table.num_rows, self.n_features
        values = None if self.is_sparse else _zeros(n_rows, n_features)
        matrices: list[csr_array] = []
        remarks: Remarks | None = None
        with threads(n_rows) as pool:
            for block in recut([whole(table)], block_rows) if n_rows else [whole(table)]:
                with block.locating_errors():
                    parts, more = self._encode(block.table, pool)
                remarks = more if remarks is None else added(remarks, more)
                if values is None:
                    matrices.append(sparse(parts, (len(block), n_features), pool))
                else:
                    put_dense(parts, values[block.first : block.first + len(block)], pool)
        assert remarks is not None
        return Encoded(stacked(matrices) if values is None else values, remarks)

    def _encode(self, table: pa.Table, pool: ThreadPoolExecutor | None) -> tuple[list[Part], Remarks]:
        """The features of some rows, column by column, and what deserves a look."""
        table = with_crosses(table, self.schema.crosses)
        own = in_threads(lambda name: self._own[name].encode(table.column(name)), list(self._own), pool)
        hashed = in_threads(lambda each: each.encode(table.column(each.column.name)), self._hashed, pool)
        parts = [part for column, _ in own for part in column] + (summed(hashed) if hashed else [])
        return parts, tuple(remark for _, remarks in own for remark in remarks)


def learn_encoder(read: Read, names: Sequence[str], options: EncoderOptions) -> tuple[Encoder, tuple[str, ...]]:
    """The encoder learned from the columns of these names in the blocks that are read, and warnings, a sentence each.

    Raises DataError for values that cannot be used: infinite ones, dates, free text, ids, nested types.
    """
    bits = options.checked_bits()
    schema, notices = learn_schema(read, names, options.roles(names), options.pairs(names), bits)
    return Encoder(schema, names), notices


def _columns_of(schema: Schema) -> list[str]:
    crossed = {f"{first}:{second}" for first, second in schema.crosses}
    names = [column.name for column in schema.columns] + [column.name for column in schema.dropped]
    return [name for name in names if name not in crossed]


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


# Refusing what cannot be learned from.


def _refuse_unusable(schema: Schema) -> None:
    if not schema.columns:
        reasons = "; ".join(f"{column.name!r}: {column.reason}" for column in schema.dropped)
        raise DataError(f"no column is left to learn from ({reasons or 'the table has none'}); keep one that varies")
    named = (column for column in schema.columns if not isinstance(column, (VectorColumn, HashedTextColumn)))
    times = Counter(name for column in named for name in column.feature_names)
    for name in (name for name, count in times.most_common(1) if count > 1):
        raise DataError(f"two features would be called {name!r}; rename the columns they come from")


def _refuse_lacking(schema: Schema, given: Sequence[str]) -> None:
    crossed = {f"{first}:{second}": (first, second) for first, second in schema.crosses}
    needed = [name for column in schema.columns for name in crossed.get(column.name, (column.name,))]
    lacking = [name for name in dict.fromkeys(needed) if name not in given]
    if lacking:
        which = f"column {lacking[0]!r} is" if len(lacking) == 1 else f"columns {', '.join(map(repr, lacking))} are"
        raise DataError(
            f"{which} missing; the model was trained on {'it' if len(lacking) == 1 else 'them'}", column=lacking[0]
        )


# Encoding.


class _ColumnEncoder(Protocol):
    def encode(self, values: pa.ChunkedArray) -> tuple[list[Part], Remarks]: ...


_ENCODERS: dict[type, Callable[[Any, int], _ColumnEncoder]] = {
    NumericColumn: NumberEncoder,
    CategoricalColumn: LevelEncoder,
    TextColumn: TextEncoder,
    HashedTextColumn: TextEncoder,
    VectorColumn: VectorEncoder,
}


def _zeros(n_rows: int, n_features: int) -> NDArray[np.float32]:
    try:
        return np.zeros((n_rows, n_features), np.float32)
    except MemoryError:
        size = n_rows * n_features * 4 / 2**30
        raise DataError(
            f"{n_rows} rows of {n_features} features take {size:.0f} GiB, more than there is; "
            f"leave out the columns with the most levels (drop or --drop)"
        ) from None
