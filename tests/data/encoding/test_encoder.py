"""What each column is taken to hold, how it is encoded, and that a schema is all there is to it."""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from places import DATA
from profiles import examples
from torchlogit import TableEncoder
from torchlogit.data.columns import MISSING_TOKENS
from torchlogit.data.encoding.categorical import CategoricalColumn
from torchlogit.data.encoding.column_kind import Column, ColumnKind
from torchlogit.data.encoding.numeric import NumericColumn
from torchlogit.data.encoding.schema import Schema, schema_from_json, schema_to_json
from torchlogit.data.reading.source import open_source
from torchlogit.errors import ModelFileError, TorchlogitWarning

ADULT = DATA / "adult" / "adult-train.csv"


def learned(values: Sequence[object] | pa.Array, **options: Sequence[str]) -> Column:
    """The record of a column x, learned beside another that keeps the table from being empty."""
    encoder = TableEncoder(**options).fit(beside(values))
    return next(column for column in encoder.schema_.columns if column.name == "x")


def left_out(values: Sequence[object] | pa.Array) -> tuple[str, tuple[str, ...]]:
    encoder = TableEncoder().fit(beside(values))
    (dropped,) = encoder.schema_.dropped
    return dropped.reason, encoder.warnings_


def warnings_of(values: Sequence[object]) -> tuple[str, ...]:
    return TableEncoder().fit(beside(values)).warnings_


def beside(values: Sequence[object] | pa.Array) -> dict[str, Any]:
    return {"x": values, "beside": [i % 2 for i in range(len(values))]}


# Numeric columns


def test_numbers_are_standardised_by_mean_and_population_deviation() -> None:
    values = np.array([1.0, 2.0, 4.0, 9.0])
    expected = NumericColumn("x", ColumnKind.NUMERIC, values.mean(), values.std(), values.mean(), has_missing=False)
    assert learned(values) == learned([f" {v} " for v in values]) == learned(values.astype(int)) == expected
    encoded = TableEncoder().fit_transform({"x": values})
    assert encoded.dtype == np.float32
    assert encoded.flags.c_contiguous
    np.testing.assert_allclose(encoded[:, 0], (values - values.mean()) / values.std(), rtol=1e-6)


def test_a_missing_number_becomes_the_mean_and_is_marked() -> None:
    encoder = TableEncoder()
    for missing in ("?", None, " NA "):
        encoded = encoder.fit_transform({"x": ["1", "2", missing, "3"]})
        assert encoder.get_feature_names_out().tolist() == ["x", "x=NA"]
        np.testing.assert_allclose(encoded, [[-1.2247449, 0], [0, 0], [0, 1], [1.2247449, 0]], rtol=1e-6)
    np.testing.assert_array_equal(encoder.transform({"x": [1.0, 2.0, np.nan, 3.0]}), encoded)


def test_numbers_stay_numbers_however_few_or_many() -> None:
    assert learned([0, 1, 0, 1]).kind is ColumnKind.NUMERIC
    assert learned(["0", "1", "0", "1"]).kind is ColumnKind.NUMERIC
    assert learned([str(i * i) for i in range(5000)]).kind is ColumnKind.NUMERIC


@pytest.mark.parametrize(
    "values",
    [[1e15, 1e15 + 1], [-1e38, 1e38], [0.0, 5e-324], [1e-300, 2e-300, 4e-300], [1e8 + 0.1, 1e8 + 0.2, 1e8 + 0.3]],
)
def test_the_scale_neither_overflows_nor_cancels(values: list[float]) -> None:
    column = learned(values)
    assert isinstance(column, NumericColumn)
    exact = statistics.pstdev(map(Fraction, values))
    assert column.scale == pytest.approx(exact, rel=1e-14, abs=5e-324)
    assert column.scale > 0
    assert np.isfinite(TableEncoder().fit_transform({"x": values})).all()


# True and false


@pytest.mark.parametrize("values", [[True, False, True, True], ["true", "FALSE", " True ", "tRUE"]])
def test_truths_are_one_and_zero(values: list[object]) -> None:
    assert learned(values) == NumericColumn("x", ColumnKind.BOOLEAN, 0.0, 1.0, 0.75, has_missing=False)
    assert TableEncoder().fit_transform({"x": values}).ravel().tolist() == [1, 0, 1, 1]


def test_a_missing_truth_becomes_the_share_of_true() -> None:
    encoder = TableEncoder()
    for values in ([True, None, False, False, True], ["true", "?", "false", "False", "TRUE"]):
        assert encoder.fit_transform({"x": values}).tolist() == [[1, 0], [0.5, 1], [0, 0], [0, 0], [1, 0]]
    assert encoder.transform({"x": [1, 0]}).tolist() == [[1, 0], [0, 0]]
    assert encoder.transform({"x": [True]}).tolist() == [[1, 0]]


def test_yes_and_no_are_categories() -> None:
    assert learned(["yes", "no"]).kind is ColumnKind.CATEGORICAL


# Categories


def test_levels_are_sorted_and_one_hot() -> None:
    encoder = TableEncoder()
    encoded = encoder.fit_transform({"x": ["b", " a", "c", "a "]})
    assert encoder.schema_.columns == (CategoricalColumn("x", ("a", "b", "c"), has_missing=False),)
    assert encoder.get_feature_names_out().tolist() == ["x=a", "x=b", "x=c"]
    assert encoded.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 0, 0]]


def test_missing_is_a_level_that_no_text_can_be() -> None:
    encoder = TableEncoder()
    encoded = encoder.fit_transform({"x": ["missing", "(missing)", "NA", "missing"]})
    assert encoder.get_feature_names_out().tolist() == ["x=(missing)", "x=missing", "x=NA"]
    assert encoded.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_a_thousand_levels_or_levels_in_half_the_rows_are_categories() -> None:
    assert learned([f"c{i % 1000}" for i in range(1001)]).kind is ColumnKind.CATEGORICAL
    assert learned([f"c{i % 1500}" for i in range(3000)]).kind is ColumnKind.CATEGORICAL
    assert learned([f"c{i}" for i in range(20)]).kind is ColumnKind.CATEGORICAL


def test_forced_categories_are_the_texts_as_read() -> None:
    for values in ([3, 1, 3], [3.0, 1.0, 3.0], ["3", "1", " 3"], pa.array([3, 1, 3], pa.decimal128(3))):
        assert learned(values, categorical=["x"]) == CategoricalColumn("x", ("1", "3"), has_missing=False)
    assert learned([3.5, None, float("nan"), 1], categorical=["x"]) == CategoricalColumn("x", ("1", "3.5"), True)
    ids = [f"id{i}" for i in range(50)]
    assert learned(ids, categorical=["x"]) == CategoricalColumn("x", tuple(sorted(ids)), has_missing=False)
    assert learned(["2020-01-01", "2020-01-02"], categorical="x").kind is ColumnKind.CATEGORICAL


def test_an_arrow_dictionary_says_that_it_holds_categories() -> None:
    for values in (["10", "9"], [10, 9]):
        frame = pd.DataFrame({"x": pd.Categorical(values)})
        assert TableEncoder().fit(frame).schema_.columns == (CategoricalColumn("x", ("10", "9"), has_missing=False),)
        assert TableEncoder(numeric=["x"]).fit(frame).schema_.columns[0].kind is ColumnKind.NUMERIC


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_every_kind_of_arrow_text_is_text(kind: pa.DataType) -> None:
    encoder = TableEncoder().fit({"x": ["a", "b"], "y": ["1", "2"]})
    table = pa.table({"x": pa.array(["b", "a", None], kind), "y": pa.array(["1", "2", "2"], kind)})
    with pytest.warns(TorchlogitWarning):
        assert encoder.transform(table).tolist() == [[0, 1, -1], [1, 0, 1], [0, 0, 1]]


# Columns that say little or nothing


def test_columns_of_one_value_and_of_none_are_left_out_with_a_warning() -> None:
    assert left_out([5.0] * 3) == ("one value only", ("column 'x' holds one value only, 5, and is left out",))
    assert left_out(["b "] * 3) == ("one value only", ("column 'x' holds one value only, 'b', and is left out",))
    assert left_out([True] * 3)[0] == "one value only"
    assert left_out(["2020-01-01"] * 30)[0] == "one value only"
    for nothing in ([None, None], ["?", ""], [float("nan")] * 2):
        assert left_out(nothing) == ("no values", ("column 'x' has no values and is left out",))


@pytest.mark.parametrize("values", [[5, None, 5], ["b", "?", "b"], [True, None, True], ["true", "", "true"]])
def test_one_value_and_missing_ones_leave_the_indicator(values: list[object]) -> None:
    encoder = TableEncoder()
    encoded = encoder.fit_transform({"x": values})
    assert encoder.get_feature_names_out().tolist() == ["x=NA"]
    assert encoded.ravel().tolist() == [0, 1, 0]
    assert len(encoder.warnings_) == 1
    assert encoder.encode({"x": [7, None]}).messages == ()


def test_dropped_columns_are_not_looked_at() -> None:
    encoder = TableEncoder(drop=["when"]).fit({"when": ["2020-01-01", "2020-01-02"], "x": [1, 2]})
    assert encoder.feature_names_in_.tolist() == ["when", "x"]
    assert encoder.n_features_in_ == 2
    assert encoder.warnings_ == ()
    assert encoder.transform({"x": [1]}).shape == (1, 1)


# Notices


def test_a_run_of_whole_numbers_earns_a_warning_and_stays_numeric() -> None:
    (warning,) = warnings_of([*range(1, 20), 25])
    assert warning == (
        "column 'x' holds 20 whole numbers, all different, like an id; if it is one, leave it out "
        "(drop=['x'] or --drop x)"
    )
    for other in (range(19), [*range(20), 0], [i + 0.5 for i in range(20)], range(0, 60, 3)):
        assert warnings_of(list(other)) == ()


def test_numbers_with_a_few_words_earn_a_warning() -> None:
    (warning,) = warnings_of([str(i % 30) for i in range(90)] + ["abc"])
    assert warning == (
        "column 'x' holds numbers and also 'abc', and is read as categories; "
        "correct these values if it is to be numeric"
    )
    assert warnings_of(["1", "2", "3", "4", "many"]) == ()


def test_more_than_a_thousand_levels_earn_a_warning() -> None:
    assert warnings_of([f"c{i % 1001}" for i in range(3000)]) == (
        "column 'x' holds 1001 levels, one feature each; if it is an id, leave it out (drop=['x'] or --drop x)",
    )
    assert warnings_of([f"c{i % 1000}" for i in range(3000)]) == ()


# Encoding another table


def test_columns_may_come_in_any_order_among_others() -> None:
    encoder = TableEncoder().fit({"a": [1, 2, 4], "b": ["x", "y", "x"]})
    table = {"z": [[1], [2]], "b": ["y", "x"], "a": [4, 1]}
    np.testing.assert_array_equal(encoder.transform(table), encoder.transform({"a": ["4", "1"], "b": ["y", "x"]}))


def test_one_warning_lists_what_training_had_not() -> None:
    encoder = TableEncoder().fit({"age": [1, 3], "job": ["a", "b"], "own": [True, False], "ok": ["a", "b"]})
    table = {
        "age": [1, 3, 1, 1, None],
        "job": ["c", "d", "e", "f", "?"],
        "own": [None, True, None, True, None],
        "ok": ["a"] * 5,
    }
    expected = (
        "column 'age': missing in 1 row, but in no training row; encoded as the mean",
        "column 'job': 4 rows hold levels not seen in training ('c', 'd', 'e', ...), encoded as no level",
        "column 'job': missing in 1 row, but in no training row; encoded as no level",
        "column 'own': missing in 3 rows, but in no training row; encoded as the share of true",
    )
    encoded = encoder.encode(table)
    assert encoded.messages == expected
    assert encoded.values[4].tolist() == [0, 0, 0, 0.5, 1, 0]
    with pytest.warns(TorchlogitWarning) as caught:
        np.testing.assert_array_equal(encoder.transform(table), encoded.values)
    assert [str(warning.message) for warning in caught] == ["; ".join(expected)]
    assert caught[0].filename == __file__


def test_no_rows_have_no_features() -> None:
    encoder = TableEncoder().fit({"a": [1, 2], "b": ["x", "y"], "c": [True, False]})
    empty = pa.table({"a": pa.array([], pa.int64()), "b": pa.array([], pa.string()), "c": pa.array([], pa.string())})
    for table in (empty, empty.schema.empty_table(), {"a": [], "b": [], "c": []}):
        assert encoder.transform(table).shape == (0, 4)


# Properties

NUMBERS = st.one_of(st.none(), st.floats(-1e30, 1e30), st.integers(-1000, 1000).map(float))
WORDS = st.one_of(st.sampled_from(MISSING_TOKENS), st.sampled_from(["a", "b", "c d", "é", "Inf."]))
TRUTHS = st.sampled_from(["true", "False", "?"])
TABLES = st.lists(st.tuples(NUMBERS, WORDS, TRUTHS), min_size=1, max_size=30).map(
    lambda rows: {
        "n": ["" if n is None else repr(n) for n, _, _ in rows] + ["0.5", "1"],
        "w": [w for _, w, _ in rows] + ["a", "b"],
        "t": [t for _, _, t in rows] + ["true", "false"],
    }
)
quick = examples(30)


def pick(table: dict[str, list[str]], rows: Sequence[int]) -> dict[str, list[str]]:
    return {name: [values[row] for row in rows] for name, values in table.items()}


@quick
@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_does_not_matter(table: dict[str, list[str]], random: Any) -> None:
    encoder = TableEncoder().fit(table)
    order = random.sample(range(len(table["n"])), len(table["n"]))
    moved = dict(random.sample(list(pick(table, order).items()), 3))
    np.testing.assert_array_equal(encoder.encode(moved).values, encoder.encode(table).values[order])
    refitted = {column.name: column for column in TableEncoder().fit(moved).schema_.columns}
    for column in encoder.schema_.columns:
        other = refitted[column.name]
        if isinstance(column, NumericColumn):
            assert isinstance(other, NumericColumn)
            tolerance = 1e-9 * column.scale
            np.testing.assert_allclose([other.scale, other.fill], [column.scale, column.fill], rtol=0, atol=tolerance)
        else:
            assert other == column


@quick
@given(TABLES, st.integers(0, 32))
def test_pieces_encode_as_the_whole(table: dict[str, list[str]], cut: int) -> None:
    encoder = TableEncoder().fit(table)
    n_rows = len(table["n"])
    pieces = [pick(table, range(min(cut, n_rows))), pick(table, range(min(cut, n_rows), n_rows))]
    joined = np.concatenate([encoder.encode(piece).values for piece in pieces])
    np.testing.assert_array_equal(joined, encoder.encode(table).values)
    chunked = pa.concat_tables([pa.table(piece, TEXTS) for piece in pieces])
    np.testing.assert_array_equal(encoder.encode(chunked).values, joined)
    assert TableEncoder().fit(chunked).schema_ == encoder.schema_


TEXTS = pa.schema({"n": pa.string(), "w": pa.string(), "t": pa.string()})


@quick
@given(TABLES, st.lists(st.sampled_from(["", " ", "\t ", "\n"]), min_size=2, max_size=2))
def test_blanks_around_values_change_nothing(table: dict[str, list[str]], blanks: list[str]) -> None:
    padded = {name: [blanks[0] + value + blanks[1] for value in values] for name, values in table.items()}
    encoder = TableEncoder().fit(table)
    assert TableEncoder().fit(padded).schema_ == encoder.schema_
    np.testing.assert_array_equal(encoder.encode(padded).values, encoder.encode(table).values)


@quick
@given(TABLES)
def test_a_schema_survives_json_to_the_bit_and_encodes_alike(table: dict[str, list[str]]) -> None:
    encoder = TableEncoder().fit(table)
    schema = schema_from_json(json.loads(json.dumps(schema_to_json(encoder.schema_))))
    assert schema == encoder.schema_
    again = TableEncoder.from_schema(schema)
    np.testing.assert_array_equal(again.encode(table).values, encoder.encode(table).values)
    assert again.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()


@quick
@given(TABLES)
def test_names_are_distinct_and_one_hots_add_up(table: dict[str, list[str]]) -> None:
    encoder = TableEncoder()
    values = encoder.fit_transform(table)
    names = encoder.get_feature_names_out().tolist()
    assert len(set(names)) == len(names) == values.shape[1]
    of_words = [i for i, name in enumerate(names) if name.startswith("w=")]
    assert (values[:, of_words].sum(axis=1) == 1).all()
    assert np.isfinite(values).all()


# The schema as JSON


HUGE = "1" + "0" * 36 + "..."


def a_schema() -> dict[str, Any]:
    encoder = TableEncoder(drop=["d"]).fit({"n": [1, 2], "c": ["a", "b"], "t": [True, False], "d": [1, 2]})
    data: dict[str, Any] = schema_to_json(encoder.schema_)
    return data


@pytest.mark.parametrize(
    ("place", "key", "value", "message"),
    [
        ("columns", "mean", None, "a NumericColumn in the schema has None as its mean; the file is damaged"),
        ("columns", "mean", True, "a NumericColumn in the schema has True as its mean; the file is damaged"),
        ("columns", "mean", float("nan"), "a NumericColumn in the schema has nan as its mean; the file is damaged"),
        ("columns", "mean", 10**400, f"a NumericColumn in the schema has {HUGE} as its mean; the file is damaged"),
        ("columns", "scale", 0.0, "a NumericColumn in the schema has 0.0 as its scale; the file is damaged"),
        (
            "columns",
            "kind",
            "ordinal",
            "the schema has a column of kind 'ordinal', where one of numeric, boolean, categorical, hashed, text, "
            "hashed text, vector was expected; the file is damaged, or of a later version of torchlogit",
        ),
        ("columns", "name", 3, "a NumericColumn in the schema has 3 as its name; the file is damaged"),
        ("columns", "has_missing", 1, "a NumericColumn in the schema has 1 as its has_missing; the file is damaged"),
        ("dropped", "reason", None, "a DroppedColumn in the schema has None as its reason; the file is damaged"),
    ],
)
def test_a_wrong_value_in_the_json_is_refused(place: str, key: str, value: object, message: str) -> None:
    data = a_schema()
    data[place][0][key] = value
    with pytest.raises(ModelFileError) as error:
        schema_from_json(data)
    assert str(error.value) == message


def test_wrong_levels_and_wrong_keys_in_the_json_are_refused() -> None:
    for levels in (["a", "a"], ["a", 1], "ab", None):
        data = a_schema()
        data["columns"][1]["levels"] = levels
        with pytest.raises(ModelFileError, match="as its levels; the file is damaged"):
            schema_from_json(data)
    short = [{"kind": "numeric"}]
    wrong = ({"extra": 1}, {"columns": 3}, {"dropped": None}, {"columns": [3]}, {"columns": short}, {"standardized": 1})
    for change in wrong:
        with pytest.raises(ModelFileError, match="the file is damaged"):
            schema_from_json(a_schema() | change)
    with pytest.raises(ModelFileError) as error:
        schema_from_json({"columns": []})
    assert (
        str(error.value)
        == "the schema holds columns, where columns, dropped, crosses, hash_bits, standardized were expected; "
        "the file is damaged"
    )
    with pytest.raises(ModelFileError):
        schema_from_json([])


def test_whole_numbers_in_the_json_are_floats() -> None:
    data = a_schema()
    data["columns"][0]["mean"] = 1
    (column, *_) = schema_from_json(data).columns
    assert isinstance(column, NumericColumn)
    assert type(column.mean) is float


# scikit-learn

FRAME = pd.DataFrame({"age": [20, 30, 40, 50], "job": ["a", "b", "a", None]}, index=[3, 1, 4, 5])


def test_parameters_are_stored_as_given_and_cloned() -> None:
    encoder = TableEncoder(numeric=["age"], drop="job")
    rest = {"text": (), "crosses": (), "hash_bits": None, "standardize": True}
    assert encoder.get_params() == {"numeric": ["age"], "categorical": (), "drop": "job", **rest}
    assert clone(encoder).get_params() == encoder.get_params()
    assert clone(encoder.fit(FRAME)).fit(FRAME).get_feature_names_out().tolist() == ["age"]
    assert encoder.set_params(drop=()).fit(FRAME).get_feature_names_out().size == 4


def test_an_encoder_not_fitted_says_so() -> None:
    for use in (lambda: TableEncoder().transform(FRAME), lambda: TableEncoder().get_feature_names_out()):
        with pytest.raises(NotFittedError):
            use()


def test_set_output_gives_frames_with_the_index() -> None:
    encoder = TableEncoder().set_output(transform="pandas")
    for frame in (encoder.fit_transform(FRAME), encoder.transform(FRAME)):
        assert isinstance(frame, pd.DataFrame)
        assert frame.columns.tolist() == ["age", "job=a", "job=b", "job=NA"]
        assert frame.index.tolist() == [3, 1, 4, 5]
        assert set(frame.dtypes) == {np.dtype("float32")}


def test_a_pipeline_takes_a_frame() -> None:
    model = make_pipeline(TableEncoder(), LogisticRegression()).fit(FRAME, [0, 0, 1, 1])
    assert model.predict(FRAME).shape == (4,)
    assert model[:-1].get_feature_names_out().tolist() == ["age", "job=a", "job=b", "job=NA"]
    assert model[:-1].get_feature_names_out(["age", "job"]).tolist() == ["age", "job=a", "job=b", "job=NA"]
    assert model.named_steps["tableencoder"].n_features_in_ == 2


def test_the_table_given_is_not_changed() -> None:
    table = {"x": np.array([1.0, np.nan, 3.0]), "c": np.array(["a", "b", "a"], object)}
    TableEncoder().fit_transform(table)
    np.testing.assert_array_equal(table["x"], [1.0, np.nan, 3.0])


def test_a_schema_alone_rebuilds_the_encoder() -> None:
    encoder = TableEncoder(drop=["job"]).fit(FRAME)
    again = TableEncoder.from_schema(encoder.schema_)
    assert again.feature_names_in_.tolist() == ["age", "job"]
    assert again.n_features_in_ == 2
    assert again.warnings_ == ()
    assert isinstance(again.schema_, Schema)


@pytest.mark.data
@pytest.mark.skipif(not ADULT.exists(), reason="needs the shared data folder beside the project")
def test_adult() -> None:
    table = open_source([ADULT], has_header=False).read().table.drop_columns(["column_15"])
    encoder = TableEncoder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = encoder.fit_transform(table)
    assert values.shape == (32561, 108)
    kinds = "".join(column.kind[0] for column in encoder.schema_.columns)
    assert kinds == "ncncnccccc" + "nnnc"
    assert [c.name for c in encoder.schema_.columns if c.has_missing] == ["column_2", "column_7", "column_14"]
    assert encoder.warnings_ == ()
