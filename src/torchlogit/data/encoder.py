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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from torchlogit.data.categorical import encode_levels, learn_levels, refuse_type
from torchlogit.data.columns import as_levels, as_numbers
from torchlogit.data.features import Features, Layout, Matrix, layout
from torchlogit.data.hashing import encode_hashed, learn_hashed
from torchlogit.data.numeric import Learned, encode_numbers, learn_numbers, not_a_number, refuse_extreme
from torchlogit.data.origins import FeatureOrigin, feature_origins
from torchlogit.data.tables import table_from
from torchlogit.data.text import encode_hashed_text, encode_text, learn_hashed_text, learn_text
from torchlogit.data.vectors import encode_vectors, is_vectors, learn_vectors
from torchlogit.data.wording import examples, meant
from torchlogit.errors import DataError, TorchlogitWarning
from torchlogit.records import (
    CategoricalColumn,
    Column,
    ColumnKind,
    DroppedColumn,
    HashedColumn,
    HashedTextColumn,
    NumericColumn,
    Schema,
    TextColumn,
    VectorColumn,
)

WIDE = 256  # features; up to so many, a dense matrix is small and quick
MOST_HASH_BITS = 24

_Encode: TypeAlias = Callable[[Any, pa.ChunkedArray, Features], tuple[str, ...]]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Encoded:
    """`values` (n, n_features), float32, dense in C order or CSR, and what deserves a look, one sentence each."""

    values: Matrix
    notices: tuple[str, ...]


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
        bits = _checked_bits(self.hash_bits)
        roles = self._roles(table.column_names)
        crosses = tuple(_checked_cross(cross, table.column_names) for cross in _listed(self.crosses))
        crossed = _with_crosses(table, crosses)
        roles |= {f"{first}:{second}": "categorical" for first, second in crosses}
        learned = _in_threads(
            lambda name: _learn(name, crossed.column(name), roles.get(name, ""), bits), crossed.column_names
        )
        records = [record for record, _ in learned]
        schema = Schema(
            columns=tuple(record for record in records if not isinstance(record, DroppedColumn)),
            dropped=tuple(record for record in records if isinstance(record, DroppedColumn)),
            crosses=crosses,
            hash_bits=bits,
        )
        self._remember(schema, table.column_names, tuple(notice for _, notices in learned for notice in notices))
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
        schema = self.schema_
        _refuse_lacking(schema, table.column_names)
        table = _with_crosses(table, schema.crosses)
        into = _layout(schema, table.num_rows)
        own: list[Column] = [column for column in schema.columns if not isinstance(column, HashedColumn)]
        shared = len(own)

        def fill(block: int) -> tuple[str, ...]:
            if block < shared:
                return _ENCODE[type(own[block])](own[block], table.column(own[block].name), into.blocks[block])
            for hashed in schema.hashed:
                encode_hashed(hashed, table.column(hashed.name), schema.hash_bits or 0, into.blocks[block])
            return ()

        notices = _in_threads(fill, range(len(into.blocks)))
        return Encoded(into.matrix(), tuple(notice for block in notices for notice in block))

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


# Crosses.


def _checked_cross(cross: str, columns: Sequence[str]) -> tuple[str, str]:
    """The two columns whose names, with a colon between, are the cross."""
    ways = [(cross[:at], cross[at + 1 :]) for at, letter in enumerate(cross) if letter == ":"]
    pairs = [pair for pair in ways if pair[0] in columns and pair[1] in columns]
    if not pairs:
        unknown = next((name for name in (ways[0] if ways else ()) if name not in columns), cross)
        reason = meant(unknown, columns) if ways else f"the columns are {examples(columns, most=10)}"
        raise DataError(f"crosses names {cross!r}, where two columns A:B were expected; {reason}")
    if cross in columns:
        raise DataError(f"the cross {cross!r} and a column have the same name; rename the column", column=cross)
    return pairs[0]


def _with_crosses(table: pa.Table, crosses: Iterable[tuple[str, str]]) -> pa.Table:
    """The table with a column A:B, texts a:b, for each cross; missing where one of the two is."""
    for first, second in crosses:
        sides = (_as_text(table.column(name)) for name in (first, second))
        table = table.append_column(f"{first}:{second}", pc.binary_join_element_wise(*sides, ":"))
    return table


def _as_text(column: pa.ChunkedArray) -> pa.Array:
    levels = as_levels(column)
    return levels.texts.take(pa.array(levels.codes, mask=levels.codes < 0))


# Learning what a column holds.


def _learn(name: str, column: pa.ChunkedArray, role: str, hash_bits: int | None) -> Learned:
    if role == "drop":
        return DroppedColumn(name, "left out on request"), ()
    if role == "text":
        return (learn_text(name, column) if hash_bits is None else learn_hashed_text(name, column, hash_bits)), ()
    if is_vectors(column.type) and not role:
        return learn_vectors(name, column) or DroppedColumn(name, "no values"), ()
    record, notices = _learn_plain(name, column, role)
    if hash_bits is None or not isinstance(record, CategoricalColumn):
        return record, notices
    return learn_hashed(name, column), ()


def _learn_plain(name: str, column: pa.ChunkedArray, role: str) -> Learned:
    """What a column of numbers, truths or levels holds."""
    refuse_type(name, column.type, role)
    if role == "categorical" or (role != "numeric" and pa.types.is_dictionary(column.type)):
        return learn_levels(name, column, forced=role == "categorical")
    numbers = as_numbers(column)
    if numbers is not None:
        refuse_extreme(name, column, numbers)
        kind = ColumnKind.BOOLEAN if pa.types.is_boolean(column.type) and not role else ColumnKind.NUMERIC
        return learn_numbers(name, numbers, kind)
    if role == "numeric":
        raise not_a_number(name, column, f"is no number; correct the value, or take {name!r} out of numeric")
    return learn_levels(name, column, forced=False)


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


def _in_threads(job: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """The results in order; pyarrow and numpy let other columns go on while they work on one."""
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        return list(pool.map(job, items))


def _layout(schema: Schema, n_rows: int) -> Layout:
    """A block for each column, and one for all that are hashed; sparse where that is smaller, and the whole is wide."""
    widths = [len(column.units) for column in schema.columns if not isinstance(column, HashedColumn)]
    widths += [schema.n_hashed] if schema.hashed else []
    n_features = sum(widths)
    # A number costs 4 bytes in a dense matrix, and 8, with its place, in CSR.
    return layout(n_rows, widths, sparse=n_features > WIDE and 2 * schema.filled < n_features)


_ENCODE: dict[type, _Encode] = {
    NumericColumn: encode_numbers,
    CategoricalColumn: encode_levels,
    TextColumn: encode_text,
    HashedTextColumn: encode_hashed_text,
    VectorColumn: encode_vectors,
}
