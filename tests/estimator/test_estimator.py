"""LogisticRegression as scikit-learn knows estimators, and as its own documentation promises."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn.linear_model
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import torchlogit
from classification import coefficients, rows
from commands import torchlogit as command
from profiles import examples
from torchlogit import SGD, InputError, LogisticRegression, Status, StochasticNewton, TableEncoder
from torchlogit.estimator import to_model
from torchlogit.records import Certificate, Separation, StopReason
from torchlogit.training.explanation import explain

Array = NDArray[np.float64]


def same_bits(one: LogisticRegression, other: LogisticRegression) -> bool:
    return bool(np.array_equal(coefficients(one), coefficients(other)))


# Scikit-learn's conventions


DEFAULTS = {
    "l1": 0.0,
    "l2": 1.0,
    "fit_intercept": True,
    "solver": "auto",
    "tol": 1e-6,
    "max_iter": 200,
    "time_budget": None,
    "class_weight": None,
    "warm_start": False,
    "random_state": None,
    "verbose": 0,
    "device": "auto",
    "penalty_factors": None,
    "bounds": None,
}


def test_the_defaults_are_as_documented() -> None:
    assert LogisticRegression().get_params() == DEFAULTS


def test_every_setting_goes_through_get_set_and_clone() -> None:
    changed = {
        "l1": 0.25, "l2": 0.5, "fit_intercept": False, "solver": "newton", "tol": 1e-9, "max_iter": 50,
        "time_budget": 9.0, "class_weight": "balanced", "warm_start": True, "device": "cpu", "random_state": 3,
        "verbose": 1, "penalty_factors": 2.0, "bounds": (-5.0, None),
    }  # fmt: skip
    assert changed.keys() == DEFAULTS.keys()
    model = LogisticRegression(**changed)
    assert model.get_params() == changed
    assert LogisticRegression().set_params(**changed).get_params() == changed
    assert clone(model).get_params() == changed
    assert not hasattr(clone(model.set_params(verbose=0).fit(*rows())), "coef_")


def test_settings_are_keywords() -> None:
    with pytest.raises(TypeError):
        LogisticRegression(1.0)  # type: ignore[misc]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_a_fit_leaves_behind(n_classes: int) -> None:
    X, y = rows(n_classes)
    model = LogisticRegression()
    assert model.fit(X, y) is model
    outputs = 1 if n_classes == 2 else n_classes
    assert model.coef_.shape == (outputs, 3)
    assert model.intercept_.shape == (outputs,)
    assert model.coef_.dtype == model.intercept_.dtype == np.float64
    assert model.classes_.tolist() == list(range(n_classes))
    assert model.n_features_in_ == 3
    assert not hasattr(model, "feature_names_in_")
    assert model.certificate_.status is Status.CERTIFIED
    assert 0 <= model.certificate_.relative_bound <= model.tol
    assert model.n_iter_ == model.history_[-1].passes > 0
    assert [step.passes for step in model.history_] == sorted(step.passes for step in model.history_)
    assert model.training_data_["rows"] == model.training_data_["weight"] == len(X)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_agree_with_each_other(n_classes: int) -> None:
    X, y = rows(n_classes)
    model = LogisticRegression().fit(X, y)
    raw, proba = model.decision_function(X), model.predict_proba(X)
    assert raw.shape == ((len(X),) if n_classes == 2 else (len(X), n_classes))
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(np.log(proba), model.predict_log_proba(X), rtol=1e-12, atol=1e-14)
    assert model.predict(X).tolist() == proba.argmax(axis=1).tolist()
    if n_classes == 2:
        np.testing.assert_allclose(proba[:, 1], expit(raw), rtol=1e-14)
    assert model.score(X, y) == np.mean(model.predict(X) == y) > 0.5


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_logarithm_stays_finite_where_the_probability_does_not(n_classes: int) -> None:
    X, y = rows(n_classes)
    model = LogisticRegression().fit(X, y)
    logarithms = model.predict_log_proba(1e6 * X)
    assert np.isfinite(logarithms).all()
    assert logarithms.max() <= 0
    assert logarithms.min() < -1e5
    assert np.isfinite(model.predict_proba(1e6 * X)).all()


def test_a_pickle_predicts_the_same() -> None:
    X, y = rows(3)
    model = LogisticRegression(solver=StochasticNewton(seed=1)).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert same_bits(copy, model)
    assert np.array_equal(copy.predict_proba(X), model.predict_proba(X))
    assert copy.certificate_ == model.certificate_


def test_cross_validation() -> None:
    X, y = rows()
    assert cross_val_score(LogisticRegression(), X, y, cv=3).mean() > 0.6


LABELS = {
    "text": ["no", "yes"],
    "text of objects": np.array(["no", "yes"], object),
    "integers": [3, 7],
    "minus and plus one": [-1, 1],
    "truths": [False, True],
    "floats": [0.0, 1.0],
    "three": ["a", "b", "c"],
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_any_kind(name: str) -> None:
    labels = np.asarray(LABELS[name])
    X, codes = rows(len(labels))
    model = LogisticRegression().fit(X, labels[codes])
    assert model.classes_.tolist() == labels.tolist()
    assert model.classes_.dtype == labels.dtype
    assert set(model.predict(X)) == set(labels.tolist())
    assert same_bits(model, LogisticRegression().fit(X, codes))


def test_tables_and_arrays_of_any_kind_give_the_same() -> None:
    X, y = rows()
    expected = LogisticRegression().fit(X, y)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    from_frame = LogisticRegression().fit(frame, pd.Series(y))
    assert from_frame.feature_names_in_.tolist() == ["a", "b", "c"]
    readonly = X.copy()
    readonly.setflags(write=False)
    for given_X in (np.asfortranarray(X), readonly, X.repeat(2, axis=0)[::2]):
        assert same_bits(LogisticRegression().fit(given_X, y.tolist()), expected)
    assert same_bits(from_frame, expected)
    with pytest.raises(ValueError, match=r"^The feature names should match those that were passed during fit\."):
        from_frame.predict(frame[["b", "a", "c"]])


def test_fitting_leaves_what_it_was_given_alone() -> None:
    X, y = rows()
    weight = np.linspace(0, 1, len(X))
    copies = X.copy(), y.copy(), weight.copy()
    LogisticRegression(class_weight="balanced").fit(X, y, sample_weight=weight)
    assert all(np.array_equal(one, other) for one, other in zip((X, y, weight), copies, strict=True))


# The objective


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("l2", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_answer_is_scikit_learns(n_classes: int, l2: float, fit_intercept: bool, weighted: bool) -> None:
    X, y = rows(n_classes)
    weight = np.random.default_rng(1).uniform(0, 3, len(X)) if weighted else None
    ours = LogisticRegression(l2=l2, fit_intercept=fit_intercept, tol=1e-13).fit(X, y, sample_weight=weight)
    theirs = sklearn.linear_model.LogisticRegression(
        C=1 / l2, fit_intercept=fit_intercept, tol=1e-12, max_iter=10_000
    ).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-6)
    # With several classes a constant in the intercepts moves no probability.
    centred = theirs.intercept_ - (theirs.intercept_.mean() if n_classes > 2 else 0)
    np.testing.assert_allclose(ours.intercept_, centred, rtol=0, atol=1e-6)


def test_balanced_class_weights_are_scikit_learns() -> None:
    X, y = rows(3)
    for weights in ("balanced", {0: 1.0, 1: 2.5, 2: 0.5}):
        ours = LogisticRegression(class_weight=weights, tol=1e-13).fit(X, y)
        theirs = sklearn.linear_model.LogisticRegression(class_weight=weights, tol=1e-12, max_iter=10_000).fit(X, y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-6)


def test_class_weights_multiply_sample_weights() -> None:
    X, y = rows()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(X))
    both = LogisticRegression(class_weight={0: 2.0, 1: 0.5}).fit(X, y, sample_weight=weight)
    product = LogisticRegression().fit(X, y, sample_weight=weight * np.where(y == 0, 2.0, 0.5))
    assert same_bits(both, product)


def test_class_weights_by_text() -> None:
    X, y = rows()
    by_text = LogisticRegression(class_weight={"no": 2.0, "yes": 0.5}).fit(X, np.array(["no", "yes"])[y])
    assert same_bits(by_text, LogisticRegression(class_weight={0: 2.0, 1: 0.5}).fit(X, y))


@examples(25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.sampled_from([0.1, 1.0]))
def test_sample_weights_are_repetition(seed: int, n_classes: int, l2: float) -> None:
    X, y = rows(n_classes, n=60, seed=seed)
    y[:n_classes] = np.arange(n_classes)
    times = np.random.default_rng(seed).integers(0, 4, len(X))
    times[:n_classes] = 1
    weighted = LogisticRegression(l2=l2, tol=1e-13).fit(X, y, sample_weight=times)
    repeated = LogisticRegression(l2=l2, tol=1e-13).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(coefficients(weighted), coefficients(repeated), rtol=0, atol=1e-9)


def test_rows_in_another_order_give_the_same_answer() -> None:
    X, y = rows(3)
    order = np.random.default_rng(1).permutation(len(X))
    one = LogisticRegression(tol=1e-13).fit(X, y)
    other = LogisticRegression(tol=1e-13).fit(X[order], y[order])
    np.testing.assert_allclose(coefficients(one), coefficients(other), rtol=0, atol=1e-9)


def maximum_likelihood(X: Array, y: NDArray[np.int64]) -> float:
    """The smallest mean log loss, by Newton's method on standardised columns in float64."""
    ones = np.column_stack([(X - X.mean(axis=0)) / X.std(axis=0), np.ones(len(X))])
    theta = np.zeros(ones.shape[1])
    for _ in range(50):
        p = expit(ones @ theta)
        theta -= np.linalg.solve(ones.T @ (ones * (p * (1 - p))[:, None]), ones.T @ (p - y))
    assert np.abs(ones.T @ (expit(ones @ theta) - y)).max() < 1e-9
    return mean_log_loss(ones @ theta, y)


def mean_log_loss(raw: Array, y: NDArray[np.int64]) -> float:
    return float(np.mean(np.logaddexp(0, raw) - y * raw))


@pytest.mark.parametrize("units", [(1.0, 1.0), (1e-6, 1e6)], ids=["raw", "units"])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_unscaled_columns_reach_the_maximum_likelihood(units: tuple[float, float], kind: type) -> None:
    r = np.random.default_rng(0)
    age = r.integers(18, 60, 400).astype(float)
    salary = r.integers(15, 150, 400) * 1000.0
    p = 1 / (1 + np.exp(-(0.23 * (age - 38) + 3.6e-5 * (salary - 70000))))
    y = (r.random(400) < p).astype(int)
    X = np.column_stack([age * units[0], salary * units[1]]).astype(kind)
    model = LogisticRegression(l2=0).fit(X, y)
    excess = mean_log_loss(model.decision_function(X), y) - maximum_likelihood(X.astype(np.float64), y)
    assert model.certificate_.status is Status.CERTIFIED
    assert -1e-14 < excess < 1e-8
    assert model.certificate_.objective / 400 == pytest.approx(mean_log_loss(model.decision_function(X), y), rel=1e-6)


# Where a fit starts and ends


def test_a_warm_start_begins_at_the_last_answer() -> None:
    X, y = rows(3, n=5000)
    cold = LogisticRegression(tol=1e-10, warm_start=True).fit(X, y)
    passes, first = cold.n_iter_, coefficients(cold)
    warm = cold.fit(X, y)
    assert warm.n_iter_ < passes
    np.testing.assert_allclose(coefficients(warm), first, rtol=0, atol=1e-5)
    afresh = clone(cold).fit(X, y)
    assert np.array_equal(coefficients(afresh), first)


def test_without_a_warm_start_a_second_fit_is_the_first() -> None:
    X, y = rows()
    model = LogisticRegression().fit(X, y)
    first = coefficients(model)
    assert np.array_equal(coefficients(model.fit(X, y)), first)


@pytest.mark.parametrize("change", ["classes", "columns"])
def test_a_warm_start_on_other_data_is_refused(change: str) -> None:
    X, y = rows(3)
    model = LogisticRegression(warm_start=True).fit(X, y)
    other = (X, y + 1) if change == "classes" else (X[:, :2], y)
    message = r"^warm_start: the classes or columns are not those of the last fit; use a new estimator$"
    with pytest.raises(InputError, match=message):
        model.fit(*other)


def test_the_same_seed_gives_the_same_bits() -> None:
    X, y = rows(n=20_000, d=4)
    fits = {seed: LogisticRegression(random_state=seed).fit(X, y) for seed in (None, 0, 1)}
    for seed, model in fits.items():
        assert same_bits(model, LogisticRegression(random_state=seed).fit(X, y))
    assert not same_bits(fits[0], fits[1])
    np.testing.assert_allclose(coefficients(fits[0]), coefficients(fits[1]), rtol=0, atol=1e-3)


def test_solvers_by_name_and_as_objects() -> None:
    X, y = rows()
    auto = LogisticRegression().fit(X, y)
    for solver in ("newton", StochasticNewton()):
        assert same_bits(LogisticRegression(solver=solver).fit(X, y), auto)
    other = LogisticRegression(solver=StochasticNewton(hessian_rows=10**6), tol=1e-13).fit(X, y)
    np.testing.assert_allclose(coefficients(other), coefficients(auto), rtol=0, atol=1e-4)


def test_sgd_runs_its_epochs_and_is_measured() -> None:
    X, y = rows()
    exact = LogisticRegression().fit(X, y).certificate_.objective
    message = r"^not certified: the solver ended after 20 passes; at most \S+ nats above the minimum\. Give it more"
    with pytest.warns(ConvergenceWarning, match=message):
        model = LogisticRegression(solver="sgd").fit(X, y)
    certificate = model.certificate_
    assert certificate.status is Status.BUDGET
    assert model.n_iter_ == 20
    assert len(model.history_) == 20
    assert 0 < certificate.objective - exact <= certificate.bound


def test_sgd_repeats_itself_and_shuffles_by_its_seed() -> None:
    X, y = rows()
    fits = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for seed in (1, 1, 2):
            fits.append(LogisticRegression(solver=SGD(n_epochs=2, shuffle=True, seed=seed)).fit(X, y))
    assert same_bits(fits[0], fits[1])
    assert not same_bits(fits[0], fits[2])


def test_a_rate_too_large_is_told_with_the_batch() -> None:
    X, y = rows()
    message = (
        r"^diverged: the coefficients left the range of floats in epoch \d+, batch \d+, with learning_rate=1e\+300: "
        r"lower it, scale the columns, or use the default solver$"
    )
    with pytest.warns(ConvergenceWarning, match=message):
        model = LogisticRegression(solver=SGD(learning_rate=1e300)).fit(1e9 * X, y)
    assert model.certificate_.status is Status.DIVERGED
    assert model.certificate_.bound is None


def told(model: LogisticRegression, X: Any, y: Any) -> str:
    """The one warning of a fit."""
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, y)
    (warning,) = caught
    assert warning.filename == __file__
    return str(warning.message)


def test_passes_that_run_out_are_told() -> None:
    X, y = rows()
    model = LogisticRegression(max_iter=1)
    assert told(model, X, y) == (
        "not certified: the budget of 1 pass is spent; no bound yet. Give it more passes (max_iter) or time"
    )
    assert model.certificate_.status is Status.BUDGET
    assert np.isfinite(model.coef_).all()


def test_time_that_runs_out_is_told() -> None:
    X, y = rows()
    assert told(LogisticRegression(time_budget=1e-9), X, y) == (
        "not certified: the budget of 1e-09 seconds is spent; no bound yet. Give it more passes (max_iter) or time"
    )


def test_complete_separation_is_told_by_column_and_sign() -> None:
    frame = pd.DataFrame({"dose": np.arange(16.0)})
    model = LogisticRegression(l2=0.0)
    assert told(model, frame, np.where(frame["dose"] < 8, "alive", "dead")) == (
        "separated: the classes can be told apart perfectly by dose (+) and the intercept (-), so that no finite "
        "coefficients fit best: the values shown are where fitting stopped, and mean nothing. "
        "Use a penalty (l2 > 0), or leave these columns out"
    )
    assert model.certificate_.status is Status.SEPARATED
    assert model.certificate_.separation == Separation(
        complete=True, directions=((0, 0, 1),), intercepts=((0, -1),)
    )
    assert " by dose (-) and the intercept (+), " in told(model, frame, np.where(frame["dose"] < 8, "sick", "healed"))


def test_quasi_complete_separation_names_the_guilty_column_alone() -> None:
    X, y = rows(d=2)
    rare = np.zeros(len(X))
    rare[np.flatnonzero(y == 0)[:5]] = 1.0
    frame = pd.DataFrame({"age": X[:, 0], "smoker": rare, "pay": X[:, 1]})
    model = LogisticRegression(l2=0.0)
    assert told(model, frame, y) == (
        "separated: the classes can be told apart for some of the rows by smoker (-), so that no finite coefficients "
        "fit best: the values shown are where fitting stopped, and mean nothing for these columns. "
        "Use a penalty (l2 > 0), or leave these columns out"
    )
    assert LogisticRegression(l2=1e-3).fit(frame, y).certificate_.status is Status.CERTIFIED


def test_separation_of_several_classes_is_told_by_class() -> None:
    X = np.arange(15.0)[:, None]
    message = told(LogisticRegression(l2=0.0), X, np.repeat(["a", "b", "c"], 5))
    assert " perfectly by x0 (a -, " in message
    assert "c +) and the intercept (a +, c -), " in message


def test_columns_that_separate_are_counted_where_they_are_many() -> None:
    directions = tuple((feature, 0, 1) for feature in range(14))
    certificate = Certificate(Status.SEPARATED, 1.0, None, Separation(False, directions))
    message = explain(certificate, [f"x{j}" for j in range(14)], ["yes"])
    assert " by x0 (+), x1 (+), " in message
    assert " x11 (+) and 2 more, so that " in message


def test_an_answer_at_the_edge_of_rounding_says_so() -> None:
    reason = StopReason("the objective no longer falls", remedy="The bound that was reached meets tol=1.1e-01")
    assert explain(Certificate(Status.UNCERTIFIABLE, 1.0, 0.1, reason=reason), [], []) == (
        "not certified: the objective no longer falls; at most 0.1 nats above the minimum. "
        "The bound that was reached meets tol=1.1e-01"
    )
    assert explain(Certificate(Status.UNCERTIFIABLE, 1.0, None), [], []) == "not certified: no bound is known"


def test_what_would_help_is_true() -> None:
    """A tolerance that the bound meets; a penalty only where there is none."""
    X, y = rows()
    with pytest.warns(ConvergenceWarning, match=r"meets tol=(\S+)$") as caught:
        LogisticRegression(tol=1e-17).fit(X, y)
    advised = float(str(caught[0].message).rpartition("=")[2])
    assert LogisticRegression(tol=advised).fit(X, y).certificate_.status == "certified"
    assert advised < 1e-12


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    LogisticRegression(verbose=1).fit(*rows())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("\rpass ")
    assert "  no bound yet " in printed.err
    LogisticRegression().fit(*rows())
    assert capsys.readouterr() == ("", "")


# What is refused


def spoilt(value: float) -> Array:
    X, _ = rows()
    X[5, 1] = value
    return X


def test_missing_and_infinite_values_are_refused() -> None:
    _, y = rows()
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        LogisticRegression().fit(spoilt(np.nan), y)
    with pytest.raises(ValueError, match=r"^Input X contains infinity or a value too large for dtype\('float64'\)\.$"):
        LogisticRegression().fit(spoilt(np.inf), y)


def test_targets_that_are_no_classes_are_refused() -> None:
    X, y = rows()
    with pytest.raises(ValueError, match=r"^Unknown label type: continuous\."):
        LogisticRegression().fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"^Found input variables with inconsistent numbers of samples: \[120, 60\]$"):
        LogisticRegression().fit(X, y[:60])


def test_weights_that_are_none_are_refused() -> None:
    X, y = rows(3)
    for weight, message in {
        -1.0: r"^Negative values in data passed to `sample_weight`\.$",
        np.nan: r"^Input sample_weight contains NaN\.$",
        np.inf: r"^Input sample_weight contains infinity",
    }.items():
        with pytest.raises(ValueError, match=message):
            LogisticRegression().fit(X, y, sample_weight=np.r_[weight, np.ones(len(X) - 1)])
    with pytest.raises(ValueError, match=r"^Sample weights must contain at least one non-zero number\.$"):
        LogisticRegression().fit(X, y, sample_weight=np.zeros(len(X)))


def test_a_class_without_weight_is_refused() -> None:
    X, y = rows(3)
    message = r"^y has one class only among the rows of positive sample_weight: expected at least two classes$"
    with pytest.raises(InputError, match=message):
        LogisticRegression().fit(X, y, sample_weight=y == 1)


SETTINGS = {
    "l1, infinite": ({"l1": np.inf}, r"^l1=inf: expected a positive finite number \(use l1=0 for no penalty\)$"),
    "l2, negative": ({"l2": -1.0}, r"^l2=-1\.0: expected a positive finite number \(use l2=0 for no penalty\)$"),
    "l2, not a number": ({"l2": np.nan}, r"^l2=nan: expected a positive finite number \(use l2=0 for no penalty\)$"),
    "factors, too few": (
        {"penalty_factors": [1.0, 2.0]},
        r"^penalty_factors has shape \(2,\): expected one number, or 3, one for each column$",
    ),
    "factors, negative": ({"penalty_factors": -1.0}, r"^factors: expected finite numbers, none negative$"),
    "bounds, crossed": (
        {"bounds": (1.0, [2.0, 0.0, 2.0])},
        r"^bounds of feature 1: lower 1 is above upper 0$",
    ),
    "device": ({"device": "abacus"}, r"^device='abacus': cannot compute there \(.*\); use 'auto' or 'cpu'$"),
    "solver": (
        {"solver": "lbfgs"},
        r"^solver='lbfgs': expected one of auto, newton, dual, sgd, streaming, or a solver object$",
    ),
    "class weight": (
        {"class_weight": {0: -1.0, 1: 1.0}},
        r"^sample_weight: expected 120 finite numbers, none negative$",
    ),
    "class without weight": ({"class_weight": {0: 0.0, 1: 1.0}}, r"^y has one class only among the rows of positive "),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_cannot_be_are_refused(name: str) -> None:
    options, message = SETTINGS[name]
    with pytest.raises(InputError, match=message):
        LogisticRegression(**options).fit(*rows())


def test_nothing_is_predicted_before_a_fit() -> None:
    X, _ = rows()
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        with pytest.raises(NotFittedError, match=r"^This LogisticRegression instance is not fitted yet"):
            getattr(LogisticRegression(), name)(X)


def test_a_fit_that_fails_leaves_the_last_answer() -> None:
    X, y = rows()
    model = LogisticRegression().fit(X, y)
    before = coefficients(model)
    with pytest.raises(ValueError, match=r"^Input X contains NaN\."):
        model.fit(spoilt(np.nan), y)
    assert np.array_equal(coefficients(model), before)


# What was once taken, or ended in an error of another library.


@pytest.mark.parametrize("value", [1e155, 1e300])
def test_values_whose_squares_overflow_are_refused(value: float) -> None:
    _, y = rows()
    with pytest.raises(InputError):
        LogisticRegression().fit(spoilt(value), y)


@pytest.mark.parametrize("label", ["a", 3])
def test_a_class_is_named_as_it_is_written(label: str | int) -> None:
    X, y = rows(3)
    with pytest.raises(InputError) as caught:
        LogisticRegression().fit(X, [label] * len(X))
    assert str(caught.value) == f"y has one class only, {label!r}: expected at least two classes; check the target"
    labels = np.array([label, label * 2, label * 3])
    with pytest.raises(InputError) as caught:
        LogisticRegression().fit(X, labels[y], sample_weight=y != 0)
    assert str(caught.value) == (
        f"class {label!r} has no row of positive sample_weight: leave its rows out, or give it weight"
    )


@pytest.mark.parametrize("kind", ["list", "whole numbers", "frame of whole numbers"])
def test_what_is_no_array_of_floats_becomes_float64(kind: str) -> None:
    X, y = rows()
    whole = np.round(1e9 * X).astype(np.int64)
    kinds = {"list": (1.0 * whole).tolist(), "whole numbers": whole, "frame of whole numbers": pd.DataFrame(whole)}
    model, expected = LogisticRegression().fit(kinds[kind], y), LogisticRegression().fit(1.0 * whole, y)
    assert np.array_equal(model.predict_proba(kinds[kind]), expected.predict_proba(1.0 * whole))


def test_sgd_that_arrives_is_certified() -> None:
    X, y = rows(n=60)
    solver = SGD(learning_rate=1.0, batch_size=60, n_epochs=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(solver=solver, max_iter=300).fit(X, y)
    exact = LogisticRegression(tol=1e-13).fit(X, y)
    np.testing.assert_allclose(coefficients(model), coefficients(exact), rtol=0, atol=1e-7)
    assert model.certificate_.status is Status.CERTIFIED


def test_progress_ends_with_the_last_step(capsys: pytest.CaptureFixture[str]) -> None:
    LogisticRegression(verbose=1).fit(*rows())
    assert "proven within " in capsys.readouterr().err.split("\r")[-1]


BAD_SETTINGS: list[dict[str, Any]] = [
    {"tol": 0.0}, {"tol": -1.0}, {"tol": np.nan}, {"max_iter": 0}, {"max_iter": np.nan}, {"time_budget": -1.0},
    {"time_budget": np.nan}, {"solver": SGD}, {"solver": 3},
]  # fmt: skip


@pytest.mark.parametrize("options", BAD_SETTINGS, ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_settings_without_a_meaning_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        LogisticRegression(**options).fit(*rows())


@pytest.mark.parametrize("options", [{"tol": np.inf}, {"solver": SGD(learning_rate=1e300)}], ids=["tol", "diverged"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_model_with_numbers_that_json_lacks_is_saved_or_refused(options: dict[str, Any], tmp_path: Path) -> None:
    X, y = rows()
    model = LogisticRegression(**options).fit(1e9 * X, y)
    try:
        torchlogit.save(model, tmp_path / "m")
    except InputError:
        return
    assert torchlogit.load(tmp_path / "m").facts.solver


# Pipelines, tables, files


PEOPLE = {
    "age": [25.0, 31.0, None, 44.0, 52.0, 38.0, 29.0, 61.0, 47.0, 33.0, 55.0, 41.0],
    "job": ["clerk", "cook", "smith", None, "cook", "clerk", "smith", "cook", "clerk", "smith", "cook", "clerk"],
    "member": [True, False, True, True, False, False, True, False, True, False, True, False],
}
BOUGHT = ["no", "no", "yes", "yes", "yes", "no", "no", "yes", "yes", "no", "no", "yes"]


def test_a_pipeline_takes_any_kind_of_table() -> None:
    tables = [PEOPLE, pa.table(PEOPLE), pd.DataFrame(PEOPLE), pa.table(PEOPLE).to_batches()[0]]
    fits = [make_pipeline(TableEncoder(), LogisticRegression()).fit(table, BOUGHT) for table in tables]
    expected = fits[0].predict_proba(PEOPLE)
    for fit in fits:
        for table in tables:
            assert np.array_equal(fit.predict_proba(table), expected)
        assert set(fit.predict(PEOPLE)) == {"no", "yes"}


@pytest.mark.parametrize("kind", ["dict", "Arrow", "pandas"])
def test_a_saved_pipeline_predicts_the_same(kind: str, tmp_path: Path) -> None:
    table = {"dict": PEOPLE, "Arrow": pa.table(PEOPLE), "pandas": pd.DataFrame(PEOPLE)}[kind]
    pipeline = make_pipeline(TableEncoder(), LogisticRegression()).fit(table, BOUGHT)
    torchlogit.save(pipeline, tmp_path / "m.safetensors", target="bought")
    model = torchlogit.load(tmp_path / "m.safetensors")
    assert np.array_equal(model.predict_proba(table), pipeline.predict_proba(table))
    assert model.predict(table).tolist() == pipeline.predict(table).tolist()
    assert model.feature_names == tuple(pipeline[0].get_feature_names_out())
    assert model.facts.target == "bought"
    assert model.facts.certificate["status"] == "certified"


def test_a_saved_estimator_predicts_the_same(tmp_path: Path) -> None:
    X, y = rows(3)
    for given_X, names in ((X, ("x0", "x1", "x2")), (pd.DataFrame(X, columns=list("abc")), ("a", "b", "c"))):
        fitted = LogisticRegression().fit(given_X, y)
        torchlogit.save(fitted, tmp_path / "m.safetensors")
        model = torchlogit.load(tmp_path / "m.safetensors")
        assert np.array_equal(model.predict_proba(given_X), fitted.predict_proba(given_X))
        assert model.feature_names == names
        assert model.classes == (0, 1, 2)
        with pytest.raises(InputError, match=r"^X has shape \(120, 2\): expected rows of 3 features$"):
            model.predict(X[:, :2])


def test_only_what_a_model_file_can_hold_is_saved(tmp_path: Path) -> None:
    X, y = rows()
    kinds = "expected a LogisticRegression, or a Pipeline of a TableEncoder and one"
    others = [
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(LogisticRegression()),
        sklearn.linear_model.LogisticRegression(),
    ]
    for other in others:
        with pytest.raises(InputError) as caught:
            torchlogit.save(other.fit(X, y), tmp_path / "m")
        assert str(caught.value) == f"{type(other).__name__}: {kinds}; save other pipelines with their own library"
    with pytest.raises(NotFittedError):
        torchlogit.save(LogisticRegression(), tmp_path / "m")
    days = np.array(["2024-01-01", "2024-01-02"], "datetime64[D]")
    message = r"^class datetime\.date\(2024, 1, 1\) is of type date: a model file holds text, numbers and booleans as "
    with pytest.raises(InputError, match=message):
        torchlogit.save(LogisticRegression().fit(X, days[y]), tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_coefficients_in_the_tables_units_predict_the_same() -> None:
    X, y = rows(3, d=2)
    table = {"a": 50 + 10 * X[:, 0], "b": 0.1 * X[:, 1]}
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(l2=0.01)).fit(table, y)
    intercepts, lines = to_model(pipeline).in_original_units()
    assert [(line.feature, line.output) for line in lines] == [(name, k) for name in "ab" for k in range(3)]
    by_hand = [line.value for line in intercepts] + np.outer(table["a"], [line.value for line in lines[:3]])
    by_hand += np.outer(table["b"], [line.value for line in lines[3:]])
    np.testing.assert_allclose(by_hand, pipeline.decision_function(table), rtol=0, atol=1e-4)
    assert [line.odds_ratio for line in lines] == pytest.approx([np.exp(line.value) for line in lines])


OPTIONS: dict[str, tuple[list[str], dict[str, Any], dict[str, Any]]] = {
    "defaults": ([], {}, {}),
    "l2": (["--l2", "0.01"], {}, {"l2": 0.01}),
    "no penalty": (["--l2", "0", "--drop", "job"], {"drop": ["job"], "standardize": False}, {"l2": 0.0}),
    "balanced": (["--class-weight", "balanced"], {}, {"class_weight": "balanced"}),
    "kinds": (["--categorical", "age"], {"categorical": ["age"]}, {}),
    "tol": (["--tol", "1e-12"], {}, {"tol": 1e-12}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_library_and_the_command_line_give_the_same_bits(name: str, tmp_path: Path) -> None:
    arguments, encoding, fitting = OPTIONS[name]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": rng.integers(18, 65, 300), "job": rng.choice(["clerk", "cook", "smith"], 300), "pay": rng.random(300)}
    )
    bought = np.where(rng.random(300) < expit(0.1 * (frame["age"] - 40)), "yes", "no")
    frame.assign(bought=bought).to_csv(tmp_path / "people.csv", index=False)
    assert command(tmp_path, "train", "people.csv", "--target", "bought", *arguments).code == 0
    pipeline = make_pipeline(TableEncoder(**encoding), LogisticRegression(**fitting)).fit(frame, bought)
    torchlogit.save(pipeline, tmp_path / "library.safetensors", target="bought")
    trained = torchlogit.load(tmp_path / "people.safetensors")
    assert np.array_equal(trained.coef, pipeline[-1].coef_.T)
    assert np.array_equal(trained.intercept, pipeline[-1].intercept_)
    assert trained.facts.training_data == pipeline[-1].training_data_
    assert (tmp_path / "library.safetensors").read_bytes() == (tmp_path / "people.safetensors").read_bytes()


def large_table(folder: Path) -> pd.DataFrame:
    """A table that is long enough for the solver to draw samples, with its target, also as big.csv."""
    X, y = rows(n=6000, d=4)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=np.array(["no", "yes"])[y])
    frame.to_csv(folder / "big.csv", index=False)
    return frame


@pytest.mark.parametrize("seed", [
    None,
    0,
    5,
])  # fmt: skip
def test_the_library_and_the_command_line_draw_the_same_samples(seed: int | None, tmp_path: Path) -> None:
    frame = large_table(tmp_path)
    arguments = [] if seed is None else ["--seed", str(seed)]
    assert command(tmp_path, "train", "big.csv", "--target", "y", "--quiet", *arguments).code == 0
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(random_state=seed)).fit(frame[list("abcd")], frame["y"])
    assert np.array_equal(torchlogit.load(tmp_path / "big.safetensors").coef, pipeline[-1].coef_.T)


@pytest.mark.parametrize("l2", [0.0, 1.0])
@pytest.mark.parametrize("spread", [600.0, 5.0])
def test_seconds_since_1970_within_minutes_are_fitted_as_exactly_as_minutes(l2: float, spread: float) -> None:
    """The offset is 2.7e6 spreads and more: the intercept takes it up, and the answer is the centred column's."""
    rng = np.random.default_rng(4)
    seconds = 1.7e9 + np.round(spread * rng.standard_normal((500, 1)))
    near = seconds - 1.7e9
    y = rng.random(500) < 1 / (1 + np.exp(-2.0 * near[:, 0] / spread))
    far, centred = LogisticRegression(l2=l2).fit(seconds, y), LogisticRegression(l2=l2).fit(near, y)
    assert far.certificate_.status is Status.CERTIFIED
    np.testing.assert_allclose(far.coef_, centred.coef_, rtol=1e-6)
    np.testing.assert_allclose(far.predict_proba(seconds), centred.predict_proba(near), atol=1e-6)
    if l2 == 0:
        far_errors, near_errors = (to_model(model).facts.standard_errors for model in (far, centred))
        np.testing.assert_allclose(far_errors["coef"], near_errors["coef"], rtol=1e-5)
        again = LogisticRegression(l2=l2, warm_start=True).fit(seconds, y)
        assert again.fit(seconds, y).n_iter_ < far.n_iter_
