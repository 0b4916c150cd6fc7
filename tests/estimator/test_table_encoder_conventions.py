"""TableEncoder as scikit-learn knows transformers: tables of any kind in, any container out, copies, names, origins."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from torchlogit import InputError, LogisticRegression, TableEncoder
from torchlogit.data.encoding.column_kind import ColumnKind
from torchlogit.estimator import to_model

PEOPLE = pa.table(
    {
        "age": [25.0, 31.0, None, 44.0, 52.0, 38.0, 29.0, 61.0, 47.0, 33.0, 55.0, 41.0],
        "job": ["clerk", "cook", "smith", None, "cook", "clerk", "smith", "cook", "clerk", "smith", "cook", "clerk"],
        "member": [True, False, True, True, False, False, True, False, True, False, True, False],
    }
)
BOUGHT = np.array(["no", "no", "yes", "yes", "yes", "no", "no", "yes", "yes", "no", "no", "yes"])
NAMES = ["age", "age=NA", "job=clerk", "job=cook", "job=smith", "job=NA", "member"]


def parquet(folder: Path) -> Path:
    pyarrow.parquet.write_table(PEOPLE, folder / "people.parquet")
    return folder / "people.parquet"


IN = {
    "pandas": lambda _: PEOPLE.to_pandas(),
    "polars": lambda _: pl.from_arrow(PEOPLE),
    "Arrow": lambda _: PEOPLE,
    "Arrow batch": lambda _: PEOPLE.to_batches()[0],
    "dict": lambda _: PEOPLE.to_pydict(),
    "path": parquet,
    "text of a path": lambda folder: str(parquet(folder)),
}
OUT: dict[str, type] = {"default": np.ndarray, "pandas": pd.DataFrame, "polars": pl.DataFrame}


def numbers(features: Any) -> NDArray[np.float32]:
    return np.asarray(features, dtype=np.float32)


CHECKS = [
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_set_params,
    estimator_checks.check_estimators_unfitted,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_valid_tag_types,
    estimator_checks.check_mixin_order,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_checks_of_scikit_learn_that_need_no_array_pass(check: Any) -> None:
    """All others make arrays without names, which it says with its tags that it does not take."""
    check("TableEncoder", TableEncoder())
    assert not TableEncoder().__sklearn_tags__().input_tags.two_d_array


@pytest.mark.parametrize("container", OUT)
@pytest.mark.parametrize("kind", IN)
def test_any_table_comes_out_in_the_container_that_is_set(kind: str, container: str, tmp_path: Path) -> None:
    expected = TableEncoder().fit_transform(PEOPLE)
    encoder = TableEncoder().set_output(transform=container)
    table = IN[kind](tmp_path)
    for features in (encoder.fit_transform(table), encoder.fit(table).transform(table)):
        assert type(features) is OUT[container]
        assert np.array_equal(numbers(features), expected)
        assert container == "default" or list(features.columns) == NAMES
    assert encoder.get_feature_names_out().tolist() == NAMES
    assert encoder.feature_names_in_.tolist() == ["age", "job", "member"]
    assert encoder.n_features_in_ == 3


def test_a_frame_keeps_its_index() -> None:
    frame = PEOPLE.to_pandas().set_axis(range(100, 112))
    out = TableEncoder().set_output(transform="pandas").fit_transform(frame)
    assert out.index.tolist() == list(range(100, 112))
    assert (out.dtypes == np.float32).all()


def test_copies_encode_the_same_and_a_clone_has_learned_nothing() -> None:
    encoder = TableEncoder(categorical=["job"], hash_bits=4).set_output(transform="pandas").fit(PEOPLE)
    expected = encoder.transform(PEOPLE)
    for other in (copy.copy(encoder), copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert other.transform(PEOPLE).equals(expected)
        assert other.schema_ == encoder.schema_
    fresh = clone(encoder)
    assert fresh.get_params() == encoder.get_params()
    assert not hasattr(fresh, "schema_")
    assert type(fresh.fit_transform(PEOPLE)) is pd.DataFrame
    with pytest.raises(NotFittedError):
        clone(encoder).transform(PEOPLE)
    with pytest.raises(NotFittedError):
        clone(encoder).origins()


def test_settings_go_through_get_and_set() -> None:
    settings = {
        "numeric": ["age"],
        "categorical": ["job"],
        "drop": ["member"],
        "text": [],
        "crosses": [],
        "hash_bits": 3,
        "standardize": False,
    }
    assert TableEncoder().set_params(**settings).get_params() == settings
    fitted = TableEncoder(**settings).fit(PEOPLE)
    assert fitted.get_params() == settings


def test_rows_are_encoded_each_on_its_own_and_fitting_twice_is_fitting_once() -> None:
    encoder = TableEncoder().fit(PEOPLE)
    whole = encoder.transform(PEOPLE)
    order = np.random.default_rng(0).permutation(len(PEOPLE))
    assert np.array_equal(encoder.transform(PEOPLE.take(order)), whole[order])
    assert np.array_equal(np.vstack([encoder.transform(PEOPLE.slice(i, 1)) for i in range(len(PEOPLE))]), whole)
    assert np.array_equal(encoder.fit(PEOPLE).transform(PEOPLE), whole)


def test_fitting_leaves_the_table_alone() -> None:
    frame = PEOPLE.to_pandas()
    before = frame.copy(deep=True)
    TableEncoder().fit_transform(frame, BOUGHT)
    assert frame.equals(before)


@pytest.mark.parametrize("kind", ["pandas", "polars", "Arrow"])
def test_folds_of_any_table(kind: str, tmp_path: Path) -> None:
    pipeline = make_pipeline(TableEncoder(), LogisticRegression())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that a fold is missing
        scores = cross_val_score(pipeline, IN[kind](tmp_path), BOUGHT, cv=3, error_score="raise")
    assert scores.shape == (3,)


def test_it_works_as_a_part_of_a_column_transformer() -> None:
    frame = PEOPLE.to_pandas()
    parts = ColumnTransformer([("table", TableEncoder(), ["age", "job"])], remainder="passthrough")
    assert parts.fit_transform(frame).shape == (12, 7)
    assert parts.get_feature_names_out().tolist() == [*(f"table__{name}" for name in NAMES[:6]), "remainder__member"]


def test_an_array_without_names_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"^expected a table with named columns .* got numpy\.ndarray; name the"):
        TableEncoder().fit(np.zeros((3, 2)))


# Where features come from


def test_every_feature_knows_its_column_and_level() -> None:
    origins = TableEncoder().fit(PEOPLE).origins()
    assert [origin.feature for origin in origins] == NAMES
    assert [(origin.column, origin.level) for origin in origins] == [
        ("age", None), ("age", "NA"), ("job", "clerk"), ("job", "cook"), ("job", "smith"), ("job", "NA"),
        ("member", None),
    ]  # fmt: skip
    assert [origin.kind for origin in origins] == [
        *[ColumnKind.NUMERIC] * 2, *[ColumnKind.CATEGORICAL] * 4, ColumnKind.BOOLEAN
    ]  # fmt: skip


def test_names_and_levels_that_look_like_each_other_are_told_apart() -> None:
    table = pa.table({"a": ["=x", "a=", "a"] * 4, "a=b": [1.0, 2.0, 3.0] * 4, "f": ["7", "8", "9"] * 4})
    origins = TableEncoder(categorical=["f"]).fit(table).origins()
    assert [(origin.column, origin.level) for origin in origins] == [
        ("a", "=x"), ("a", "a"), ("a", "a="), ("a=b", None), ("f", "7"), ("f", "8"), ("f", "9")
    ]  # fmt: skip


def test_words_vectors_and_hashed_columns_have_origins_too() -> None:
    texts = pa.table({"t": ["a good day", "a bad day", "good"] * 4, "j": ["x", "y", "z"] * 4})
    plain = TableEncoder(text=["t"]).fit(texts).origins()
    assert {(origin.column, origin.kind) for origin in plain} == {("t", ColumnKind.TEXT), ("j", ColumnKind.CATEGORICAL)}
    assert {"good", "day", "bad"} <= {origin.level for origin in plain if origin.column == "t"}
    hashed = TableEncoder(hash_bits=2).fit(texts.select(["j"])).origins()
    assert [(origin.column, origin.level) for origin in hashed] == [(None, str(place)) for place in range(4)]


def test_units_and_zeros_bring_coefficients_back_to_the_tables_units() -> None:
    pipeline = make_pipeline(TableEncoder(), LogisticRegression()).fit(PEOPLE, BOUGHT)
    origins, coef = pipeline[0].origins(), pipeline[-1].coef_[0]
    units, zeros = (np.array([getattr(origin, name) for origin in origins]) for name in ("unit", "zero"))
    row = PEOPLE.slice(0, 1)
    values = {"age": row["age"][0].as_py(), "member": row["member"][0].as_py(), "clerk": 1}
    by_hand = pipeline[-1].intercept_[0] + zeros @ coef
    for origin, unit, weight in zip(origins, units, coef, strict=True):
        by_hand += weight * unit * values.get(origin.level or origin.column or "", 0)
    assert by_hand == pytest.approx(pipeline.decision_function(row)[0], abs=1e-6)
    (intercept,), lines = to_model(pipeline).in_original_units()
    assert intercept.value == pytest.approx(pipeline[-1].intercept_[0] + zeros @ coef)
    assert [line.value for line in lines] == pytest.approx(list(units * coef))
