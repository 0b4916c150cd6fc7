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

import math
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from torchlogit.data.columns import (
    Floats,
    Levels,
    as_levels,
    as_numbers,
    first_not_number,
    is_number,
    is_text,
    written_as_numbers,
)
from torchlogit.data.features import Features, Layout, Matrix, layout
from torchlogit.data.hashing import encode_hashed, learn_hashed
from torchlogit.data.tables import table_from
from torchlogit.data.text import encode_hashed_text, encode_text, learn_hashed_text, learn_text
from torchlogit.data.vectors import encode_vectors, is_vectors, learn_vectors
from torchlogit.data.wording import examples, excerpt, meant
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

LARGEST = 1e38  # float32 holds 3.4e38
MOST_LEVELS = 1000  # a text column with more levels than this, in more than half its rows, is no category
WIDE = 256  # features; up to so many, a dense matrix is small and quick
MOST_HASH_BITS = 24
FEWEST_DISTINCT = 20  # up to so many rows, all different, may be categories or a run of numbers by accident

_TRUTHS = {"true": 1.0, "false": 0.0}
_SPELLINGS = 2**4 + 2**5  # of true and false, in capitals and small letters
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_TIME = r"(?:[T ]+\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[AaPp][Mm])?(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?)?"
_YEAR = r"(?:\d{4}|\d{2})"
_DATE = rf"^(?:\d{{4}}[-/.]{_MONTH}[-/.]{_DAY}|(?:{_DAY}[-/.]{_MONTH}|{_MONTH}[-/.]{_DAY})[-/.]{_YEAR}){_TIME}$"

_Learned: TypeAlias = tuple[Column | DroppedColumn, tuple[str, ...]]
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
    polars or Arrow table, or a dict of columns. After `fit`: `schema_` (all that `transform` needs), `notices_` (one
    sentence each), `feature_names_in_`, `n_features_in_`.

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


def _learn(name: str, column: pa.ChunkedArray, role: str, hash_bits: int | None) -> _Learned:
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


def _learn_plain(name: str, column: pa.ChunkedArray, role: str) -> _Learned:
    """What a column of numbers, truths or levels holds."""
    _refuse_type(name, column.type, role)
    if role == "categorical" or (role != "numeric" and pa.types.is_dictionary(column.type)):
        return _learn_levels(name, column, forced=role == "categorical")
    numbers = as_numbers(column)
    if numbers is not None:
        _refuse_extreme(name, column, numbers)
        kind = ColumnKind.BOOLEAN if pa.types.is_boolean(column.type) and not role else ColumnKind.NUMERIC
        return _learn_numbers(name, numbers, kind)
    if role == "numeric":
        raise _not_a_number(name, column, f"is no number; correct the value, or take {name!r} out of numeric")
    return _learn_levels(name, column, forced=False)


def _learn_numbers(name: str, numbers: Floats, kind: ColumnKind) -> _Learned:
    missing = np.isnan(numbers)
    has_missing = bool(missing.any())
    present = numbers[~missing] if has_missing else numbers
    if not present.size:
        return _without_values(name)
    if present.min() == present.max():
        return _constant(name, f"{present[0]:.15g}", has_missing)
    if kind is ColumnKind.BOOLEAN:
        return NumericColumn(name, kind, mean=0.0, scale=1.0, fill=float(present.mean()), has_missing=has_missing), ()
    mean, scale = _mean_and_scale(present)
    column = NumericColumn(name, kind, mean=mean, scale=scale, fill=mean, has_missing=has_missing)
    return column, _notice_of_run(name, present)


def _mean_and_scale(values: Floats) -> tuple[float, float]:
    """Mean and standard deviation (ddof 0), in two passes so that a large mean does not eat the digits."""
    mean = float(np.mean(values))
    deviations = values - mean
    largest = float(np.abs(deviations).max())
    # In units of a power of two near the largest no square underflows; and a scale must not round to 0.
    unit = math.ldexp(0.5, math.frexp(largest)[1])
    return mean, unit * math.sqrt(np.mean(np.square(deviations / unit))) or largest


def _learn_levels(name: str, column: pa.ChunkedArray, *, forced: bool) -> _Learned:
    levels = as_levels(column)
    counts = levels.counts()
    has_missing = bool((levels.codes < 0).any())
    if not counts.size:
        return _without_values(name)
    if counts.size == 1:
        return _constant(name, excerpt(levels.texts[0].as_py()), has_missing)
    if not forced:
        if (truth := _truth_of(levels)) is not None:
            return _learn_numbers(name, truth, ColumnKind.BOOLEAN)
        _refuse_dates(name, levels, counts)
        _refuse_ids(name, column, levels, counts)
    texts = tuple(sorted(levels.texts.to_pylist()))
    notices = () if forced else _notice_of_numbers(name, _intruders(levels)) + _notice_of_many(name, len(texts))
    return CategoricalColumn(name, texts, has_missing), notices


def _without_values(name: str) -> _Learned:
    return DroppedColumn(name, "no values"), (f"column {name!r} has no values and is left out",)


def _constant(name: str, value: str, has_missing: bool) -> _Learned:
    if has_missing:
        # The value says no more than that there is one: the indicator of a missing value tells it all.
        notice = f"column {name!r} holds one value only, {value}: what is kept is whether it is missing"
        return CategoricalColumn(name, (), has_missing=True), (notice,)
    notice = f"column {name!r} holds one value only, {value}, and is left out"
    return DroppedColumn(name, "one value only"), (notice,)


def _truth_of(levels: Levels) -> Floats | None:
    """1, 0 and NaN, where all the texts are true and false however capitalised; else None."""
    truths = [_TRUTHS.get(text.lower()) for text in levels.texts.slice(0, _SPELLINGS).to_pylist()]
    if None in truths or len(levels.texts) > len(truths):
        return None
    return np.array([*truths, np.nan], np.float64)[levels.codes]


def _notice_of_run(name: str, numbers: Floats) -> tuple[str, ...]:
    span = numbers.max() - numbers.min() + 1
    if not FEWEST_DISTINCT <= numbers.size <= span <= 2 * numbers.size or np.any(numbers != np.floor(numbers)):
        return ()
    if np.bincount((numbers - numbers.min()).astype(np.int64)).max() > 1:
        return ()
    return (
        f"column {name!r} holds {numbers.size} whole numbers, all different, like an id; "
        f"if it is one, leave it out ({_option('drop', name)})",
    )


def _notice_of_numbers(name: str, others: Sequence[str]) -> tuple[str, ...]:
    if not others:
        return ()
    return (
        f"column {name!r} holds numbers and also {examples(others)}, and is read as categories; "
        f"correct these values if it is to be numeric",
    )


def _notice_of_many(name: str, n_levels: int) -> tuple[str, ...]:
    if n_levels <= MOST_LEVELS:
        return ()
    drop = _option("drop", name)
    return (f"column {name!r} holds {n_levels} levels, one feature each; if it is an id, leave it out ({drop})",)


def _intruders(levels: Levels) -> list[str]:
    """The texts that are no numbers, where they are few among texts that are."""
    others = levels.texts.filter(pc.invert(written_as_numbers(levels.texts))).to_pylist()
    few = len(levels.texts) > FEWEST_DISTINCT and len(others) * 10 <= len(levels.texts)
    return others if few else []


# Refusing what cannot be learned from.


def _refuse_type(name: str, kind: pa.DataType, role: str) -> None:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_temporal(kind):
        if role != "categorical":
            raise _holds_dates(name, f"of type {kind}")
    elif not (is_text(kind) or is_number(kind)):
        raise DataError(
            f"column {name!r} holds values of type {kind}, where numbers, truths or text were expected; "
            f"take it apart, or leave it out ({_option('drop', name)})",
            column=name,
        )


def _refuse_extreme(name: str, column: pa.ChunkedArray, numbers: Floats) -> None:
    extreme = np.abs(numbers) > LARGEST
    if extreme.any():
        row = int(np.argmax(extreme))
        raise DataError(
            f"column {name!r} holds {_cell(column, row)}, where numbers between -1e38 and 1e38 were expected; "
            f"correct the value, or leave the column out ({_option('drop', name)})",
            column=name,
            row=row,
        )


def _refuse_dates(name: str, levels: Levels, counts: NDArray[np.int64]) -> None:
    dates = pc.match_substring_regex(levels.texts, _DATE).to_numpy(zero_copy_only=False)
    if counts[dates].sum() >= 0.95 * counts.sum():
        raise _holds_dates(name, f"such as {excerpt(levels.texts[int(np.argmax(dates))].as_py())}")


def _holds_dates(name: str, which: str) -> DataError:
    return DataError(f"column {name!r} holds dates, {which}; turn them into numbers, {_settled(name)}", column=name)


def _refuse_ids(name: str, column: pa.ChunkedArray, levels: Levels, counts: NDArray[np.int64]) -> None:
    n_levels, n_rows = counts.size, int(counts.sum())
    all_differ = n_levels == n_rows > FEWEST_DISTINCT
    if not all_differ and (n_levels <= MOST_LEVELS or 2 * n_levels <= n_rows):
        return
    if others := _intruders(levels):
        raise DataError(
            f"column {name!r} holds numbers and also {examples(others)}; "
            f"correct these values, or leave the column out ({_option('drop', name)})",
            column=name,
            row=first_not_number(column),
        )
    words = pc.mean(pc.count_substring_regex(levels.texts, r"\S+")).as_py()
    what, remedy = "look like an id", _settled(name)
    if words >= 4:
        what, remedy = "are free text", f"read its words ({_option('text', name)}), {remedy}"
    raise DataError(
        f"column {name!r} holds {n_levels} different texts in {n_rows} rows, which {what}; {remedy}",
        column=name,
    )


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


def _not_a_number(name: str, column: pa.ChunkedArray, what: str) -> DataError:
    row = first_not_number(column)
    return DataError(f"column {name!r} holds {_cell(column, row)}, which {what}", column=name, row=row)


# The wording of messages.


def _option(role: str, name: str) -> str:
    return f"{role}=[{name!r}] or --{role} {shlex.quote(name)}"


def _settled(name: str) -> str:
    keep = _option("categorical", name)
    return f"leave the column out ({_option('drop', name)}) or keep its texts as categories ({keep})"


def _cell(column: pa.ChunkedArray, row: int) -> str:
    value = column[row].as_py()
    return excerpt(value.strip() if isinstance(value, str) else value)


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count} rows are"


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


def _encode_numbers(column: NumericColumn, values: pa.ChunkedArray, out: Features) -> tuple[str, ...]:
    numbers = _read_truths(column.name, values) if column.kind is ColumnKind.BOOLEAN else as_numbers(values)
    if numbers is None:
        raise _not_a_number(column.name, values, "is no number, and training had numbers there; correct the value")
    _refuse_extreme(column.name, values, numbers)
    missing = np.isnan(numbers)
    n_missing = int(np.count_nonzero(missing))
    filled = np.where(missing, column.fill, numbers) if n_missing else numbers
    with np.errstate(over="ignore"):
        scaled = ((filled - column.mean) / column.scale).astype(np.float32)
    finite = np.isfinite(scaled)
    if not finite.all():
        row = int(np.argmin(finite))
        raise DataError(
            f"column {column.name!r} holds {_cell(values, row)}, too far from the training values, which spread "
            f"{column.scale:.3g} around {column.mean:.3g}; correct the value",
            column=column.name,
            row=row,
        )
    out.put(np.arange(len(scaled)), 0, scaled)
    if column.has_missing:
        out.put(*_ones(np.flatnonzero(missing), 1))
        return ()
    fill = "the share of true" if column.kind is ColumnKind.BOOLEAN else "the mean"
    return _notice_of_missing(column.name, n_missing, fill)


def _read_truths(name: str, values: pa.ChunkedArray) -> Floats:
    numbers = as_numbers(values)
    if numbers is not None:
        wrong = ~(np.isnan(numbers) | (numbers == 0) | (numbers == 1))
    else:
        levels = as_levels(values)
        truths = np.array([_TRUTHS.get(text.lower(), np.inf) for text in levels.texts.to_pylist()] + [np.nan])
        numbers = cast(Floats, truths[levels.codes])
        wrong = np.isinf(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"column {name!r} holds {_cell(values, row)}, and was true or false in training; correct the value",
            column=name,
            row=row,
        )
    return numbers


def _encode_levels(column: CategoricalColumn, values: pa.ChunkedArray, out: Features) -> tuple[str, ...]:
    _refuse_type(column.name, values.type, "categorical")
    levels = as_levels(values)
    missing = levels.codes < 0
    if column.has_missing:
        out.put(*_ones(np.flatnonzero(missing), len(column.levels)))
    if not column.levels:
        return ()
    known = pc.index_in(levels.texts, value_set=pa.array(column.levels, levels.texts.type)).fill_null(-1).to_numpy()
    places = np.append(known, -1)[levels.codes]
    seen = places >= 0
    rows = np.flatnonzero(seen)
    out.put(rows, places[rows], np.ones(len(rows), np.float32))
    unseen = levels.texts.filter(pa.array(known < 0)).to_pylist()
    n_missing = 0 if column.has_missing else int(np.count_nonzero(missing))
    return (
        *_notice_of_unseen(column.name, int(np.count_nonzero(~seen & ~missing)), unseen),
        *_notice_of_missing(column.name, n_missing, "no level"),
    )


def _ones(rows: NDArray[np.int64], place: int) -> tuple[NDArray[np.int64], int, NDArray[np.float32]]:
    return rows, place, np.ones(len(rows), np.float32)


def _notice_of_unseen(name: str, count: int, texts: Sequence[str]) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"column {name!r}: {_rows(count)} not seen in training ({examples(texts)}), taken as no level",)


def _notice_of_missing(name: str, count: int, taken_as: str) -> tuple[str, ...]:
    if not count:
        return ()
    return (f"column {name!r}: {_rows(count)} missing, which training never was, taken as {taken_as}",)


_ENCODE: dict[type, _Encode] = {
    NumericColumn: _encode_numbers,
    CategoricalColumn: _encode_levels,
    TextColumn: encode_text,
    HashedTextColumn: encode_hashed_text,
    VectorColumn: encode_vectors,
}
