"""What scikit-learn's own tests expect of its linear classifiers for log loss, asked of LogisticRegression.

The behaviour is scikit-learn's, the tests are not. What is different on purpose is tested at the end.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import sklearn.linear_model
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.preprocessing import StandardScaler, scale

from classification import coefficients, rows
from torchlogit import LogisticRegression, Status

Array = NDArray[np.float64]
IRIS_X, IRIS_Y = load_iris(return_X_y=True)
TWO = np.array([[-1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def noisy(n: int = 200, d: int = 8, **more: Any) -> tuple[Array, Any]:
    return make_classification(n_samples=n, n_features=d, n_redundant=0, flip_y=0.1, random_state=0, **more)


def loss_of(model: Any, X: Array, y: Any) -> float:
    return float(log_loss(y, model.predict_proba(X)))


# Predictions


@pytest.mark.parametrize("made", [np.asarray, scipy.sparse.csr_array, scipy.sparse.csr_matrix])
@pytest.mark.parametrize("labels", [[0, 1, 1], [-1, 1, 1], ["a", "b", "b"]])
def test_two_classes_of_three_rows(made: Any, labels: list[Any]) -> None:
    X = made(TWO)
    model = LogisticRegression(l2=0.01).fit(X, labels)
    assert model.predict(X).tolist() == labels
    proba = model.predict_proba(X)
    assert proba.shape == (3, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert model.classes_[proba.argmax(axis=1)].tolist() == labels


@pytest.mark.parametrize("made", [np.asarray, scipy.sparse.csr_array])
def test_three_classes_of_three_rows(made: Any) -> None:
    X = made(TWO)
    for labels in ([0, 1, 2], [2, 0, 1], ["x", "y", "z"]):
        model = LogisticRegression(l2=0.01).fit(X, labels)
        assert model.predict(X).tolist() == labels
        assert model.predict_proba(X).shape == (3, 3)


def test_iris_is_learned_and_its_probabilities_are_a_softmax() -> None:
    model = LogisticRegression().fit(IRIS_X, IRIS_Y)
    assert model.score(IRIS_X, IRIS_Y) > 0.95
    np.testing.assert_allclose(model.predict_proba(IRIS_X), softmax(model.decision_function(IRIS_X), axis=1))
    assert (model.predict(IRIS_X) == model.classes_[model.decision_function(IRIS_X).argmax(axis=1)]).all()


def test_two_classes_have_one_row_of_coefficients_and_several_have_theirs() -> None:
    two = LogisticRegression().fit(IRIS_X[:100], IRIS_Y[:100])
    assert (two.coef_.shape, two.intercept_.shape) == ((1, 4), (1,))
    three = LogisticRegression().fit(IRIS_X, IRIS_Y)
    assert (three.coef_.shape, three.intercept_.shape) == ((3, 4), (3,))
    assert two.decision_function(IRIS_X).shape == (150,)
    assert three.decision_function(IRIS_X).shape == (150, 3)


def test_a_row_on_the_boundary_belongs_to_the_first_class() -> None:
    model = LogisticRegression(fit_intercept=False).fit([[-1.0], [1.0]], [0, 1])
    assert model.decision_function([[0.0]]).tolist() == [0.0]
    assert model.predict([[0.0]]).tolist() == [0]


def test_the_likeliest_of_several_classes_scores_better_than_chance_out_of_fold() -> None:
    X = scale(IRIS_X)
    scores = cross_val_score(LogisticRegression(), X, IRIS_Y, cv=StratifiedKFold(3, shuffle=True, random_state=0))
    assert scores.min() > 0.9
    losses = cross_val_score(LogisticRegression(), X, IRIS_Y, cv=3, scoring="neg_log_loss")
    assert losses.min() > -0.25


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_several_classes_are_identified_by_a_sum_of_zero(fit_intercept: bool) -> None:
    for l1, l2 in ((0.0, 1.0), (0.0, 0.01), (1.0, 0.0), (1.0, 1.0)):
        model = LogisticRegression(l1=l1, l2=l2, fit_intercept=fit_intercept).fit(scale(IRIS_X), IRIS_Y)
        assert model.intercept_.sum() == pytest.approx(0, abs=1e-12)
        assert l1 or model.coef_.sum(axis=0) == pytest.approx(0, abs=1e-12)
        assert fit_intercept or not model.intercept_.any()


# The objective


def test_every_solver_finds_the_same() -> None:
    X, y = noisy()
    reference = LogisticRegression(tol=1e-13).fit(X, y)
    for solver in ("auto", "newton", "dual"):
        found = LogisticRegression(solver=solver, tol=1e-12).fit(X, y)
        np.testing.assert_allclose(coefficients(found), coefficients(reference), atol=1e-5)


@pytest.mark.parametrize("C", [0.001, 0.1, 1.0, 10.0, 1e4])
def test_a_grid_of_penalties_is_scikit_learns_to_the_certificate(C: float) -> None:
    X, y = noisy()
    theirs = sklearn.linear_model.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y)
    ours = LogisticRegression(l2=1 / C, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(coefficients(ours), np.c_[theirs.coef_, theirs.intercept_], atol=1e-5)


def test_a_tiny_penalty_is_nearly_none() -> None:
    X, y = noisy(n=1000)
    none, tiny = LogisticRegression(l2=0).fit(X, y), LogisticRegression(l2=1e-8).fit(X, y)
    np.testing.assert_allclose(coefficients(none), coefficients(tiny), atol=1e-4)


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0])
def test_an_elastic_net_has_the_lasso_and_the_ridge_at_its_ends(strength: float) -> None:
    X, y = noisy()
    for ends in ({"l1": strength, "l2": 0.0}, {"l1": 0.0, "l2": strength}):
        theirs = sklearn.linear_model.LogisticRegression(
            C=1 / strength, l1_ratio=float(ends["l1"] > 0), solver="saga", tol=1e-10, max_iter=100_000, random_state=0
        )
        ours = LogisticRegression(**ends, tol=1e-12).fit(X, y)
        theirs.fit(X, y)
        np.testing.assert_allclose(coefficients(ours), np.c_[theirs.coef_, theirs.intercept_], atol=1e-4)


def test_l1_leaves_out_columns_and_more_the_stronger_it_is() -> None:
    X, y = noisy(d=20)
    kept = [np.count_nonzero(LogisticRegression(l1=l1, l2=0.0).fit(X, y).coef_) for l1 in (0.1, 5.0, 20.0, 1e4)]
    assert kept == sorted(kept, reverse=True)
    assert kept[0] > 10
    assert kept[-1] == 0


def test_without_features_that_matter_the_intercept_is_the_log_odds() -> None:
    X, y = np.zeros((100, 2)), np.r_[np.zeros(75), np.ones(25)]
    model = LogisticRegression().fit(X, y)
    assert not model.coef_.any()
    assert model.intercept_[0] == pytest.approx(np.log(25 / 75), abs=1e-6)


def test_the_intercept_is_not_penalised() -> None:
    X, y = noisy()
    shifted = LogisticRegression(l2=100.0, tol=1e-13).fit(X + 50, y)
    plain = LogisticRegression(l2=100.0, tol=1e-13).fit(X, y)
    np.testing.assert_allclose(shifted.coef_, plain.coef_, atol=1e-6)
    np.testing.assert_allclose(shifted.predict_proba(X + 50), plain.predict_proba(X), atol=1e-6)


# Weights


def test_class_weights_are_sample_weights() -> None:
    X, y = noisy(weights=[0.8, 0.2])
    for by in ("balanced", {0: 1.0, 1: 4.0}):
        counts = np.bincount(y)
        each = len(y) / (2 * counts) if by == "balanced" else np.array([1.0, 4.0])
        by_class = LogisticRegression(class_weight=by).fit(X, y)
        assert np.array_equal(by_class.coef_, LogisticRegression().fit(X, y, sample_weight=each[y]).coef_)


@pytest.mark.parametrize("soft", [False, True])
def test_balanced_weights_take_weights_for_repetition(soft: bool) -> None:
    X, y = rows(3, n=90)
    times = np.random.default_rng(0).integers(0, 4, len(X))
    targets: Any = np.random.default_rng(1).dirichlet(np.ones(3), len(X)) if soft else y
    balanced = LogisticRegression(class_weight="balanced", tol=1e-13)
    weighted = coefficients(balanced.fit(X, targets, sample_weight=times))
    repeated = coefficients(balanced.fit(np.repeat(X, times, axis=0), np.repeat(targets, times, axis=0)))
    np.testing.assert_allclose(weighted, repeated, atol=1e-9)


def test_one_weight_for_all_rows_is_a_weaker_penalty() -> None:
    X, y = noisy()
    thrice = LogisticRegression(l2=3.0, tol=1e-13).fit(X, y, sample_weight=np.full(len(y), 3.0))
    np.testing.assert_allclose(coefficients(thrice), coefficients(LogisticRegression(tol=1e-13).fit(X, y)), atol=1e-6)


def test_rows_without_weight_are_not_there() -> None:
    X, y = noisy()
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    some = LogisticRegression(tol=1e-13).fit(X, y, sample_weight=weight)
    kept = weight > 0
    np.testing.assert_allclose(
        coefficients(some), coefficients(LogisticRegression(tol=1e-13).fit(X[kept], y[kept])), atol=1e-8
    )


# Data


def test_dense_and_sparse_of_every_index_type_are_the_same() -> None:
    X, y = noisy()
    X[X < 0.5] = 0
    dense = LogisticRegression(tol=1e-13).fit(X, y)
    for form in (scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_array):
        sparse = form(X)
        np.testing.assert_allclose(
            coefficients(LogisticRegression(tol=1e-13).fit(sparse, y)), coefficients(dense), atol=1e-7
        )
    wide = scipy.sparse.csr_array(X)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    np.testing.assert_allclose(coefficients(LogisticRegression(tol=1e-13).fit(wide, y)), coefficients(dense), atol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_single_precision_is_close_to_double(n_classes: int) -> None:
    X, y = rows(n_classes, n=300)
    single, double = LogisticRegression(tol=1e-12).fit(X.astype(np.float32), y), LogisticRegression(tol=1e-12).fit(X, y)
    np.testing.assert_allclose(coefficients(single), coefficients(double), atol=1e-5)


def test_rows_that_are_read_only_and_of_one_column() -> None:
    X, y = noisy()
    one = X[:, :1].copy()
    one.setflags(write=False)
    y.setflags(write=False)
    assert LogisticRegression().fit(one, y).coef_.shape == (1, 1)


def test_unscaled_columns_need_no_more_passes_than_scaled_ones() -> None:
    X, y = noisy(n=1000)
    units = 10.0 ** np.arange(-4, 4)
    raw = LogisticRegression(l2=0).fit(X * units, y)
    scaled = LogisticRegression(l2=0).fit(StandardScaler().fit_transform(X), y)
    assert raw.n_iter_ <= scaled.n_iter_ + 5
    assert loss_of(raw, X * units, y) == pytest.approx(loss_of(scaled, StandardScaler().fit_transform(X), y), abs=1e-9)


# Endings


@pytest.mark.parametrize("max_iter", [1, 2, 3])
def test_passes_are_kept_to_and_told(max_iter: int) -> None:
    X, y = noisy(n=1000)
    with pytest.warns(ConvergenceWarning, match=rf"^not certified: the budget of {max_iter} pass(es)? is spent; "):
        model = LogisticRegression(max_iter=max_iter).fit(X, y)
    assert max_iter <= model.n_iter_ <= max_iter + 4


def test_a_smaller_tol_takes_more_passes_and_gives_a_smaller_loss() -> None:
    X, y = noisy(n=1000)
    loose, tight = LogisticRegression(tol=1e-1).fit(X, y), LogisticRegression(tol=1e-12).fit(X, y)
    assert loose.n_iter_ <= tight.n_iter_
    assert loose.certificate_.objective >= tight.certificate_.objective
    assert tight.certificate_.relative_bound <= 1e-12


def test_a_warning_states_the_bound_and_one_next_step() -> None:
    X, y = noisy(n=1000)
    with pytest.warns(ConvergenceWarning) as caught:
        LogisticRegression(solver="sgd").fit(StandardScaler().fit_transform(X), y)
    told = str(caught[0].message)
    assert " nats above the minimum. Give it more passes (max_iter) or time" in told
    assert "\n" not in told


# What is different on purpose


def test_perfectly_separated_rows_have_no_answer_without_a_penalty_and_that_is_said() -> None:
    X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), [0, 0, 1, 1]
    with pytest.warns(ConvergenceWarning, match=r"^separated: .* by x0 \(\+\)"):
        assert LogisticRegression(l2=0).fit(X, y).certificate_.status is Status.SEPARATED
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LogisticRegression(l2=1e-4).fit(X, y).certificate_.status is Status.CERTIFIED


def test_coefficients_are_in_double_precision_whatever_x_is_in() -> None:
    X, y = noisy()
    assert LogisticRegression().fit(X.astype(np.float32), y).coef_.dtype == np.float64


def test_probabilities_are_targets_where_scikit_learn_refuses_them() -> None:
    X, y = noisy()
    share = np.clip(y * 0.8 + 0.1, 0, 1)
    model = LogisticRegression().fit(X, share)
    assert model.classes_.tolist() == [0, 1]
    with pytest.raises(ValueError, match="continuous"):
        sklearn.linear_model.LogisticRegression().fit(X, share)
