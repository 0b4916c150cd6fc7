"""Standard errors: those of published fits, those of the textbook's formula, and where there are none."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline

from places import DATA
from profiles import examples
from torchlogit import LogisticRegression, TableEncoder
from torchlogit.design import Dense
from torchlogit.estimator import to_model
from torchlogit.inference import Covariance, Refusal, covariance
from torchlogit.losses import Logistic
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Params

Array = NDArray[np.float64]
STATS = DATA / "stats_small"
published = [
    pytest.mark.data,
    pytest.mark.skipif(not STATS.is_dir(), reason="the shared data folder beside the project is not there"),
]


def maximum_likelihood(X: Any, y: Any, weight: Any = None, **options: Any) -> LogisticRegression:
    return LogisticRegression(l2=0.0, tol=1e-13, **options).fit(X, y, sample_weight=weight)


def known(fitted: LogisticRegression) -> Covariance:
    assert isinstance(fitted.covariance_, Covariance)
    return fitted.covariance_


def all_errors(fitted: LogisticRegression) -> Array:
    """The standard errors of the coefficients and, last, of the intercept: (n_features + 1, n_outputs)."""
    size = fitted.n_features_in_ + 1
    return np.asarray(known(fitted).errors_of(torch.eye(size, dtype=torch.float64)).numpy())


# Published fits


@dataclass(frozen=True)
class Study:
    """A table and what was fitted to it: the target's text for 1, and each term as a column, or as a level of one."""

    file: str
    target: str
    positive: str
    terms: Mapping[str, str | tuple[str, str]] = field(default_factory=dict)


STUDIES = {
    "ucla_admit": Study("ucla_admit.csv", "admit", "1", {
        "gre": "gre", "gpa": "gpa", **{f"C(rank)[T.{level}]": ("rank", level) for level in "234"},
    }),
    "spector": Study("sm_spector.csv", "GRADE", "1.0", {name: name for name in ("GPA", "TUCE", "PSI")}),
    "birthwt_full": Study("birthwt.csv", "low", "1", {
        **{name: name for name in ("age", "lwt", "smoke", "ptl", "ht", "ui", "ftv")},
        **{f"C(race)[T.{level}]": ("race", level) for level in "23"},
    }),
    "pima_tr": Study("pima_tr.csv", "type", "Yes", {
        name: name for name in ("npreg", "glu", "bp", "skin", "bmi", "ped", "age")
    }),
    "SAheart_esl42": Study("SAheart.csv", "chd", "1", {
        **{name: name for name in ("sbp", "tobacco", "ldl", "obesity", "alcohol", "age")},
        "famhist[T.Present]": ("famhist", "Present"),
    }),
    "islr_default": Study("islr_default.csv", "default", "Yes", {
        "balance": "balance", "income": "income", "student[T.Yes]": ("student", "Yes"),
    }),
    "donner_all": Study("donner.csv", "survived", "1", {"age": "age", "sex[T.Male]": ("sex", "Male")}),
    "chdage": Study("hl_chdage.csv", "chd", "Yes", {"age": "age"}),
    "infert": Study("infert.csv", "case", "1", {
        **{name: name for name in ("age", "parity", "spontaneous", "induced")},
        "education[T.12+ yrs]": ("education", "12+ yrs"), "education[T.6-11yrs]": ("education", "6-11yrs"),
    }),
}  # fmt: skip


def read(name: str) -> list[dict[str, str]]:
    with (STATS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], term: str | tuple[str, str]) -> list[float]:
    if isinstance(term, str):
        return [float(row[term]) for row in rows]
    return [float(row[term[0]] == term[1]) for row in rows]


def reference(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((STATS / "reference_fits.json").read_text(encoding="utf-8"))[name]
    return found


def last_digit(printed: float) -> float:
    """One unit of the last digit of a number as a paper prints it."""
    return float(10.0 ** -len(str(printed).partition(".")[2]))


@pytest.mark.parametrize("name", [pytest.param(name, marks=published) for name in STUDIES])
def test_a_published_fit_is_found_again(name: str) -> None:
    study, expected = STUDIES[name], reference(name)
    rows = [row for row in read(study.file) if all(row[term] for term in study.terms.values() if isinstance(term, str))]
    assert len(rows) == expected["nobs"]
    assert {*study.terms, "Intercept"} == set(expected["coef"])
    X = np.array([column(rows, term) for term in study.terms.values()]).T
    fitted = maximum_likelihood(X, [row[study.target] == study.positive for row in rows])
    coef = dict(zip([*study.terms, "Intercept"], [*fitted.coef_[0], fitted.intercept_[0]], strict=True))
    errors = dict(zip(coef, all_errors(fitted)[:, 0], strict=True))
    assert coef == pytest.approx(expected["coef"], rel=1e-6)
    assert errors == pytest.approx(expected["se"], rel=1e-5)
    assert 2 * fitted.certificate_.objective == pytest.approx(expected["deviance"], rel=1e-10)
    for term, (value, error) in expected.get("published", {}).items():
        assert coef[term] == pytest.approx(value, rel=0, abs=last_digit(value)), term
        assert error is None or errors[term] == pytest.approx(error, rel=0, abs=last_digit(error)), term


@pytest.mark.data
@pytest.mark.skipif(not STATS.is_dir(), reason="the shared data folder beside the project is not there")
def test_the_encoder_and_the_estimator_give_ucla_s_table() -> None:
    rows, study = read("ucla_admit.csv"), STUDIES["ucla_admit"]
    table = {"gre": [float(row["gre"]) for row in rows], "gpa": [float(row["gpa"]) for row in rows]}
    table |= {term: column(rows, level) for term, level in study.terms.items() if isinstance(level, tuple)}
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(l2=0.0, tol=1e-13)).fit(table, column(rows, "admit"))
    intercepts, coefficients = to_model(pipeline).in_original_units()
    expected = reference("ucla_admit")["published"]
    for line in [*intercepts, *coefficients]:
        value, error = expected["Intercept" if line.feature == "(intercept)" else line.feature]
        assert line.value == pytest.approx(value, abs=2e-6)
        assert line.standard_error == pytest.approx(error, abs=2e-6)
        assert line.odds_ratio == pytest.approx(np.exp(value), rel=1e-5)


@pytest.mark.data
@pytest.mark.skipif(not STATS.is_dir(), reason="the shared data folder beside the project is not there")
def test_ucla_s_multinomial_fit_is_found_again_as_contrasts() -> None:
    rows, expected = read("hsb2.csv"), reference("hsb2_prog")
    X = np.array([column(rows, term) for term in (("ses", "middle"), ("ses", "high"), "write")]).T
    fitted = maximum_likelihood(X, [row["prog"] for row in rows])
    assert fitted.classes_.tolist() == expected["classes"]
    assert 2 * fitted.certificate_.objective == pytest.approx(expected["deviance"], rel=1e-8)
    errors = contrast_errors(known(fitted), 4, against=0)
    for k, name in enumerate(expected["classes"][1:], 1):
        coef = [*(fitted.coef_[k] - fitted.coef_[0]), fitted.intercept_[k] - fitted.intercept_[0]]
        terms = [next(term for term in expected["coef"][name] if word in term) for word in
                 ("middle", "high", "write", "nterc")]  # fmt: skip
        assert coef == pytest.approx([expected["coef"][name][term] for term in terms], rel=1e-4)
        assert errors[:, k] == pytest.approx([expected["se"][name][term] for term in terms], rel=1e-4)


# The formula


def contrast_errors(covariance: Covariance, size: int, against: int) -> Array:
    """Standard errors of theta_k - theta_against, (size, n_outputs), from the covariance in free coordinates."""
    basis = covariance.basis.numpy()
    n_free = basis.shape[1]
    blocks = covariance.inverse.numpy().reshape(n_free, size, n_free, size)
    differences = basis - basis[against]
    variance = np.einsum("ca,ajbj,cb->jc", differences, blocks, differences)
    return np.sqrt(variance)


def fisher_information(X: Array, fitted: LogisticRegression, weight: Array) -> Array:
    """X' diag X of two classes; of K, for theta_k - theta_0, k = 1 .. K-1: written out row by row."""
    ones = np.column_stack([X, np.ones(len(X))])
    raw = X @ fitted.coef_.T + fitted.intercept_
    p = softmax(np.hstack([np.zeros((len(X), 1)), raw]) if raw.shape[1] == 1 else raw, axis=1)[:, 1:]
    information = np.zeros((ones.shape[1] * p.shape[1],) * 2)
    for row, share, w in zip(ones, p, weight, strict=True):
        information += w * np.kron(np.diag(share) - np.outer(share, share), np.outer(row, row))
    return information


@examples(20)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.booleans())
def test_errors_of_two_classes_are_the_inverse_information(seed: int, d: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, d)) * np.logspace(-2, 2, d)
    y = rng.integers(0, 2, 120)
    weight = rng.integers(1, 4, 120).astype(float) if weighted else np.ones(120)
    fitted = maximum_likelihood(X, y, weight)
    expected = np.sqrt(np.linalg.inv(fisher_information(X, fitted, weight)).diagonal())
    np.testing.assert_allclose(all_errors(fitted)[:, 0], expected, rtol=1e-7)


@examples(10)
@given(st.integers(0, 2**32 - 1), st.integers(3, 4), st.integers(1, 3))
def test_errors_of_several_classes_are_the_inverse_information_s(seed: int, n_classes: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((150, d))
    fitted = maximum_likelihood(X, rng.integers(0, n_classes, 150))
    inverse = np.linalg.inv(fisher_information(X, fitted, np.ones(150)))
    expected = np.sqrt(inverse.diagonal()).reshape(n_classes - 1, d + 1).T
    np.testing.assert_allclose(contrast_errors(known(fitted), d + 1, against=0)[:, 1:], expected, rtol=1e-7)
    # In classes whose coefficients sum to zero: centred contrasts.
    centre = np.vstack([np.zeros(n_classes - 1), np.eye(n_classes - 1)])
    centre = centre - centre.mean(axis=0)
    blocks = inverse.reshape(n_classes - 1, d + 1, n_classes - 1, d + 1)
    centred = np.sqrt(np.einsum("ca,ajbj,cb->jc", centre, blocks, centre))
    np.testing.assert_allclose(all_errors(fitted), centred, rtol=1e-7)


def test_the_error_of_a_combination() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 3)), rng.integers(0, 2, 100)
    fitted = maximum_likelihood(X, y)
    inverse = np.linalg.inv(fisher_information(X, fitted, np.ones(100)))
    at = np.array([[0.5, -2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    expected = np.sqrt(np.einsum("mj,ji,mi->m", at, inverse, at))
    np.testing.assert_allclose(known(fitted).errors_of(torch.from_numpy(at))[:, 0], expected, rtol=1e-9)


def test_errors_without_an_intercept() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 2)), rng.integers(0, 2, 100)
    fitted = maximum_likelihood(X, y, fit_intercept=False)
    p = fitted.predict_proba(X)[:, 1]
    expected = np.sqrt(np.linalg.inv(X.T @ (X * (p * (1 - p))[:, None])).diagonal())
    found = known(fitted).errors_of(torch.eye(2, dtype=torch.float64)).numpy()[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert [line.standard_error for line in to_model(fitted).in_original_units()[1]] == pytest.approx(expected)
    assert to_model(fitted).in_original_units()[0][0].standard_error is None


def test_errors_in_the_tables_units() -> None:
    rng = np.random.default_rng(0)
    age, pay = rng.integers(18, 60, 200).astype(float), rng.integers(15, 150, 200) * 1000.0
    y = rng.random(200) < 1 / (1 + np.exp(-0.1 * (age - 38)))
    plain = maximum_likelihood(np.column_stack([age, pay]), y)
    encoded = make_pipeline(TableEncoder(), LogisticRegression(l2=0.0, tol=1e-13)).fit({"age": age, "pay": pay}, y)
    intercepts, coefficients = to_model(encoded).in_original_units()
    found = [line.standard_error for line in [*coefficients, *intercepts]]
    # Encoded features are float32.
    assert found == pytest.approx(all_errors(plain)[:, 0].tolist(), rel=1e-5)
    assert [line.value for line in coefficients] == pytest.approx(plain.coef_[0].tolist(), rel=1e-4)
    assert intercepts[0].value == pytest.approx(plain.intercept_[0], rel=1e-4)


# None


def reason(fitted: LogisticRegression) -> str:
    assert isinstance(fitted.covariance_, Refusal)
    return fitted.covariance_.reason


def test_none_with_a_penalty() -> None:
    fitted = LogisticRegression(l2=1e-3).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    assert reason(fitted) == (
        "a penalty or bounds bias the coefficients, so standard errors are not valid; fit without either"
    )
    assert to_model(fitted).facts.standard_errors == {"reason": reason(fitted)}
    assert all(line.standard_error is None for part in to_model(fitted).in_original_units() for line in part)


def test_none_for_separated_classes() -> None:
    with pytest.warns(ConvergenceWarning, match="^separated: "):
        fitted = LogisticRegression(l2=0.0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    assert reason(fitted) == "the classes are separated: coefficients that run off to infinity have no standard errors"


def test_none_far_from_the_optimum() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    y = X[:, 0] + rng.standard_normal(200) > 0
    with pytest.warns(ConvergenceWarning, match="^not certified: "):
        fitted = LogisticRegression(l2=0.0, max_iter=1).fit(X, y)
    assert reason(fitted) == "the answer is not proven to be within 0.05 standard errors of the optimum"


def test_a_certified_answer_is_close_enough_for_its_errors() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 2))
    fitted = LogisticRegression(l2=0.0, tol=0.5).fit(X, rng.random(20_000) < 0.3)
    assert fitted.certificate_.standard_errors <= 0.05
    assert np.isfinite(all_errors(fitted)).all()


def test_columns_that_determine_each_other_have_none_and_others_have() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200))
    y = a + rng.standard_normal(200) > 0
    fitted = maximum_likelihood(np.column_stack([a, b, 3 * a]), y)
    alone = all_errors(maximum_likelihood(np.column_stack([a, b]), y))[:, 0]
    errors = all_errors(fitted)[:, 0]
    assert np.isnan(errors[[0, 2]]).all()
    np.testing.assert_allclose(errors[[1, 3]], alone[[1, 2]], rtol=1e-6)
    assert to_model(fitted).facts.standard_errors["coef"] == [[None], [pytest.approx(errors[1])], [None]]


def test_levels_and_the_intercept_that_determine_each_other_have_none() -> None:
    rng = np.random.default_rng(0)
    table = {"x": rng.standard_normal(90), "job": ["clerk", "cook", "smith"] * 30}
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(l2=0.0)).fit(table, rng.integers(0, 2, 90))
    intercepts, coefficients = to_model(pipeline).in_original_units()
    errors = {line.feature: line.standard_error for line in [*intercepts, *coefficients]}
    assert errors.pop("x") == pytest.approx(0.2, rel=0.5)
    assert errors == {"(intercept)": None, "job=clerk": None, "job=cook": None, "job=smith": None}


@pytest.mark.parametrize("settings", [{"l1": 1.0, "l2": 0.0}, {"l2": 0.0, "bounds": (-9.0, 9.0)}], ids=["l1", "bounds"])
def test_kinks_and_bounds_withhold_them_too(settings: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 3))
    y = (X[:, 0] + rng.logistic(size=200) > 0).astype(int)
    known = LogisticRegression(**settings).fit(X, y).covariance_
    assert isinstance(known, Refusal)
    assert known.reason.startswith("a penalty or bounds bias the coefficients")
    assert isinstance(LogisticRegression(l2=0.0).fit(X, y).covariance_, Covariance)


# Combinations


def errors_of(covariance: Covariance, *combinations: Any) -> Array:
    """Standard errors (m, n_outputs) of combinations of the coefficients and, last, the intercept."""
    return np.asarray(covariance.errors_of(torch.tensor(np.array(combinations), dtype=torch.float64)).numpy())


def one_hot(n: int = 300) -> tuple[Array, Array]:
    """A number and the three levels of a factor, without a level left out; labels."""
    rng = np.random.default_rng(3)
    a, level = rng.standard_normal(n), rng.integers(0, 3, n)
    return np.column_stack([a, np.eye(3)[level]]), (a + 0.5 * level + rng.logistic(size=n) > 0.5).astype(int)


# R's coefficients in terms of those of all levels
CODED = [[1, 0, 0, 0, 0], [0, -1, 1, 0, 0], [0, -1, 0, 1, 0], [0, 1, 0, 0, 1]]


def test_estimable_combinations_of_levels_have_the_errors_of_r_s_coding() -> None:
    X, y = one_hot()
    treatment = known(maximum_likelihood(X[:, [0, 2, 3]], y))  # the first level is the reference, as in R
    every = known(maximum_likelihood(X, y))
    np.testing.assert_allclose(errors_of(every, *CODED), errors_of(treatment, *np.eye(4)), rtol=1e-9)
    assert np.isnan(errors_of(every, *np.eye(5)[1:])).all()
    rows, fewer = np.column_stack([X, np.ones(len(X))]), np.column_stack([X[:, [0, 2, 3]], np.ones(len(X))])
    np.testing.assert_allclose(errors_of(every, *rows), errors_of(treatment, *fewer), rtol=1e-9)
    assert every.contrasts() == [(2, 1), (3, 1)]


def test_estimable_combinations_of_several_classes() -> None:
    X, y = one_hot()
    y = (y + (X[:, 0] > 0.3)).astype(int)
    treatment, every = (known(maximum_likelihood(part, y)) for part in (X[:, [0, 2, 3]], X))
    np.testing.assert_allclose(errors_of(every, *CODED), errors_of(treatment, *np.eye(4)), rtol=1e-9)


def test_a_copied_column_leaves_the_sum_of_two_coefficients() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 200))
    y = a + rng.standard_normal(200) > 0
    every = known(maximum_likelihood(np.column_stack([a, b, 3 * a]), y))
    alone = errors_of(known(maximum_likelihood(np.column_stack([a, b]), y)), *np.eye(3))
    errors = errors_of(every, [1, 0, 3, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 2.9, 0])
    np.testing.assert_allclose(errors[:3], alone, rtol=1e-9)
    assert np.isnan(errors[3])
    assert every.contrasts() == []


def test_errors_of_a_column_far_from_zero_are_those_of_the_centred_one() -> None:
    rng = np.random.default_rng(0)
    t = 1.7e9 + rng.uniform(0, 3e4, 400)
    y = (rng.random(400) < 1 / (1 + np.exp(-(t - t.mean()) / 1e4))).astype(int)
    given, centred = known(maximum_likelihood(t[:, None], y)), known(maximum_likelihood(t[:, None] - 1.7e9, y))
    errors = errors_of(given, [1.7e9 + 1.5e4, 1], [1.7e9 + 2.9e4, 1], [1, 0])
    np.testing.assert_allclose(errors, errors_of(centred, [1.5e4, 1], [2.9e4, 1], [1, 0]), rtol=1e-9)
    assert 0.05 < errors[0, 0] < 0.15


def test_combinations_of_the_same_times_in_two_units() -> None:
    rng = np.random.default_rng(1)
    t = 1.7e9 + rng.uniform(0, 3e4, 400)
    y = (rng.random(400) < 1 / (1 + np.exp(-(t - t.mean()) / 1e4))).astype(int)
    alone = maximum_likelihood(t[:, None], y)
    target = torch.from_numpy(y[:, None].astype(float))
    design = Dense.of(torch.from_numpy(np.column_stack([t, t / 1000])))
    twice = Objective.of(design, target, loss=Logistic(), penalty=ElasticNet()).conditioned()
    params = Params(torch.from_numpy(np.vstack([alone.coef_, [[0.0]]])), torch.from_numpy(alone.intercept_))
    both = covariance(twice, params, alone.certificate_)
    assert isinstance(both, Covariance)
    expected = errors_of(known(alone), [1.7e9 + 7, 1], [1, 0])
    np.testing.assert_allclose(errors_of(both, [1.7e9 + 7, 1.7e6 + 7e-3, 1], [1, 1e-3, 0]), expected, rtol=1e-6)
    assert np.isnan(errors_of(both, [1.7e9, 1.7e6 + 1, 1], *np.eye(3))).all()


@pytest.mark.parametrize("class_weight", [{0: 100.0, 1: 100.0}, "balanced"])
def test_class_weights_are_not_counts(class_weight: Any) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    y = (X[:, 0] + rng.logistic(size=200) > 1).astype(int)
    weighted = LogisticRegression(l2=0.0, class_weight=class_weight).fit(X, y)
    assert reason(weighted).startswith("class weights are not counts of rows")
    assert to_model(weighted).facts.standard_errors == {"reason": reason(weighted)}
    assert isinstance(LogisticRegression(l2=0.0).fit(X, y).covariance_, Covariance)


def test_a_weight_is_a_count_of_identical_rows() -> None:
    rng = np.random.default_rng(0)
    X, y, count = rng.standard_normal((100, 2)), rng.integers(0, 2, 100), rng.integers(1, 5, 100)
    repeated = maximum_likelihood(np.repeat(X, count, axis=0), np.repeat(y, count))
    np.testing.assert_allclose(all_errors(maximum_likelihood(X, y, count)), all_errors(repeated), rtol=1e-9)
    tenfold = maximum_likelihood(X, y, 100 * count)
    np.testing.assert_allclose(10 * all_errors(tenfold), all_errors(repeated), rtol=1e-9)


@pytest.mark.parametrize("near", [1e-3, 1e-4, 1e-5])
def test_columns_that_are_nearly_collinear_have_their_errors(near: float) -> None:
    rng = np.random.default_rng(0)
    a, z = rng.standard_normal((2, 500))
    y = (a + z + rng.logistic(size=500) > 0).astype(int)
    other = a + near * z
    close = known(LogisticRegression(l2=0.0).fit(np.column_stack([a, other]), y))
    apart = known(LogisticRegression(l2=0.0).fit(np.column_stack([a, (other - a) / near]), y))
    expected = errors_of(apart, [1, 0, 0], [0, 1 / near, 0], [0, 0, 1], [1, 0.3, 1])
    found = errors_of(close, [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1 + 0.3 * near, 1])
    np.testing.assert_allclose(found, expected, rtol=3e-6)
