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

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from torchlogit.data.block import rechunked, whole
from torchlogit.data.encoding.categorical import LevelEncoder
from torchlogit.data.encoding.crosses import checked_cross, with_crosses
from torchlogit.data.encoding.features import Matrix, Part, in_threads, put_dense, sparse, stacked, summed, threads
from torchlogit.data.encoding.hashing import HashEncoder
from torchlogit.data.encoding.learners import Read, learn_schema
from torchlogit.data.encoding.numeric import NumberEncoder
from torchlogit.data.encoding.origins import FeatureOrigin, feature_origins
from torchlogit.data.encoding.remarks import Remarks, added, sentences
from torchlogit.data.encoding.text import TextEncoder
from torchlogit.data.encoding.vectors import VectorEncoder
from torchlogit.data.reading.tables import table_from
from torchlogit.data.wording import meant
from torchlogit.errors import DataError, TorchlogitWarning
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
MOST_HASH_BITS = 24


@dataclass(frozen=True, slots=True)
class Encoded:
    """`values` (n, n_features), float32, dense in C order or CSR, and what deserves a look, as counts that add up."""

    values: Matrix
    remarks: Remarks

    @property
    def notices(self) -> tuple[str, ...]:
        """What deserves a look, one sentence each."""
        return sentences(self.remarks)


class TableEncoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turns a table of numbers, truths, categories and texts into float32 features, and remembers how.

    `numeric`, `categorical` and `text` name the columns whose kind is not left to their values, `drop` those
    to leave out. `crosses`: pairs of columns, "A:B", whose pairs of levels are categories of their own. `hash_bits`:
    all categories share 2^hash_bits features, and so do, for each column of text, its words. A table is a pandas,
    polars or Arrow table, a dict of columns, or the path of a file. After `fit`: `schema_` (all that `transform`
    needs), `notices_` (one sentence each), `feature_names_in_`, `n_features_in_`.

    Raises DataError for values that cannot be used: infinite ones, dates, free text, ids, nested types.

    >>> people = {"age": [20, 30, 40, None], "job": ["clerk", "smith", "clerk", "?"]}
    >>> encoder = TableEncoder()
    >>> encoder.fit_transform(people).round(2)
    array([[-1.22,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  0.  ,  0.  ,  1.  ,  0.  ],
           [ 1.22,  0.  ,  1.  ,  0.  ,  0.  ],
           [ 0.  ,  1.  ,  0.  ,  0.  ,  1.  ]], dtype=float32)
    >>> encoder.get_feature_names_out().tolist()
    ['age', 'age=NA', 'job=clerk', 'job=smith', 'job=NA']
    """

    def __init__(
        self,
        *,
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
        text: Sequence[str] = (),
        crosses: Sequence[str] = (),
        hash_bits: int | None = None,
    ) -> None:
        self.numeric = numeric
        self.categorical = categorical
        self.drop = drop
        self.text = text
        self.crosses = crosses
        self.hash_bits = hash_bits

    @classmethod
    def from_schema(cls, schema: Schema) -> TableEncoder:
        """An encoder that encodes as the one that learned `schema` did.

        >>> learned = TableEncoder().fit({"age": [20, 30, 40]})
        >>> TableEncoder.from_schema(learned.schema_).transform({"age": [30]})
        array([[0.]], dtype=float32)
        """
        encoder = cls()
        crossed = {f"{first}:{second}" for first, second in schema.crosses}
        names = [column.name for column in schema.columns] + [column.name for column in schema.dropped]
        encoder._remember(schema, [name for name in names if name not in crossed], ())
        return encoder

    def fit(self, X: object, y: object = None) -> Self:
        """The encoder itself, having learned what each column of the table holds; `y` is not looked at."""
        table = table_from(X)
        if table.num_rows == 0:
            raise DataError("the table has no rows; give at least one")
        return self.learn(lambda names: rechunked([whole(table.select(names))]), table.column_names)

    def learn(self, read: Read, names: Sequence[str]) -> Self:
        """The encoder itself, having learned what the columns of these names hold in the pieces that are read."""
        bits = _checked_bits(self.hash_bits)
        roles = self._roles(names)
        crosses = tuple(checked_cross(cross, names) for cross in _listed(self.crosses))
        schema, notices = learn_schema(read, names, roles, crosses, bits)
        self._remember(schema, names, notices)
        return self

    def transform(self, X: object) -> Matrix:
        """The features of a table, (n, n_features), float32; warns of levels and gaps that training had not."""
        encoded = self.encode(X)
        if encoded.notices:
            warnings.warn("; ".join(encoded.notices), TorchlogitWarning, stacklevel=3)
        return encoded.values

    def encode(self, X: object) -> Encoded:
        """What `transform` returns, with its warnings as data.

        The columns may come in any order, and others among them are ignored.
        """
        check_is_fitted(self)
        table = table_from(X)
        _refuse_lacking(self.schema_, table.column_names)
        encoders = self._encoders
        n_rows, n_features = table.num_rows, encoders.n_features
        values = None if self.is_sparse else _zeros(n_rows, n_features)
        matrices: list[csr_array] = []
        remarks: Remarks | None = None
        with threads(n_rows) as pool:
            for piece in rechunked([whole(table)]) if n_rows else [whole(table)]:
                with piece.blamed():
                    parts, more = encoders.encode(piece.table, pool)
                remarks = more if remarks is None else added(remarks, more)
                if values is None:
                    matrices.append(sparse(parts, (len(piece), n_features), pool))
                else:
                    put_dense(parts, values[piece.first : piece.first + len(piece)], pool)
        assert remarks is not None
        return Encoded(stacked(matrices) if values is None else values, remarks)

    @property
    def is_sparse(self) -> bool:
        """Whether features are CSR, those of any rows: where that is smaller, and there are more than WIDE of them."""
        check_is_fitted(self)
        return self._encoders.n_features > WIDE and self._encoders.fills_little

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> NDArray[np.object_]:
        """The names of the features: COLUMN, COLUMN=level, COLUMN=NA for the indicator of a missing value, ..."""
        check_is_fitted(self)
        if input_features is not None and list(input_features) != list(self.feature_names_in_):
            raise DataError("input_features differ from the columns of the training table; leave them out")
        return np.array(self.schema_.feature_names, dtype=object)

    def origins(self) -> tuple[FeatureOrigin, ...]:
        """Where every feature comes from, in order: its column, level, unit and zero, for reports.

        >>> encoder = TableEncoder().fit({"age": [20, 40], "job": ["clerk", "smith"]})
        >>> [(origin.column, origin.level) for origin in encoder.origins()]
        [('age', None), ('job', 'clerk'), ('job', 'smith')]
        >>> encoder.origins()[0].unit  # what a year more adds to the feature
        0.1
        """
        check_is_fitted(self)
        return feature_origins(self.schema_)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # columns have names
        tags.input_tags.categorical = tags.input_tags.string = tags.input_tags.allow_nan = True
        return tags

    def _remember(self, schema: Schema, names: Sequence[str], notices: tuple[str, ...]) -> None:
        _refuse_unusable(schema)
        self.schema_ = schema
        self._encoders = _Encoders(schema)
        self.notices_ = notices
        self.feature_names_in_ = np.array(names, dtype=object)
        self.n_features_in_ = len(names)

    def _roles(self, columns: Sequence[str]) -> dict[str, str]:
        roles: dict[str, str] = {}
        for role in ("numeric", "categorical", "drop", "text"):
            for name in _listed(getattr(self, role)):
                if name not in columns:
                    raise DataError(f"{role} names {name!r}, and there is no such column; {meant(name, columns)}")
                if roles.setdefault(name, role) != role:
                    raise DataError(f"column {name!r} is named in {roles[name]} and in {role}; keep one", column=name)
        return roles


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


def _checked_bits(bits: int | None) -> int | None:
    if bits is not None and not 1 <= bits <= MOST_HASH_BITS:
        raise DataError(f"hash_bits={bits!r}: expected a whole number from 1 to {MOST_HASH_BITS}, or None")
    return bits


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


class _Encoders:
    """The encoders of a schema's columns, each knowing the first of its features."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._own: dict[str, _ColumnEncoder] = {}
        start = 0
        for column in schema.columns:
            if not isinstance(column, HashedColumn):
                self._own[column.name] = _ENCODERS[type(column)](column, start)
                start += len(column.units)
        self._hashed = [HashEncoder(column, schema.hash_bits or 0, start) for column in schema.hashed]
        self.n_features = start + schema.n_hashed
        # A number costs 4 bytes in a dense matrix, and 8, with its place, in CSR.
        self.fills_little = 2 * schema.filled < self.n_features

    def encode(self, table: pa.Table, pool: ThreadPoolExecutor | None) -> tuple[list[Part], Remarks]:
        """The features of some rows, column by column, and what deserves a look."""
        table = with_crosses(table, self._schema.crosses)
        own = in_threads(lambda name: self._own[name].encode(table.column(name)), list(self._own), pool)
        hashed = in_threads(lambda each: each.encode(table.column(each.column.name)), self._hashed, pool)
        parts = [part for column, _ in own for part in column] + (summed(hashed) if hashed else [])
        return parts, tuple(remark for _, remarks in own for remark in remarks)


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
