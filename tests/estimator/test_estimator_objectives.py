"""What LogisticRegression can be asked to minimise: penalties by column, bounds, offsets, probabilities as targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.linear_model

import torchlogit
from classification import coefficients, rows
from torchlogit import InputError, LogisticRegression, Status


def test_l1_leaves_columns_out_and_is_certified() -> None:
    X, y = rows(d=8)
    model = LogisticRegression(l1=6.0, l2=0.0).fit(X, y)
    assert model.certificate_.status is Status.CERTIFIED
    assert 0 < np.count_nonzero(model.coef_ == 0) < 8
    theirs = sklearn.linear_model.LogisticRegression(
        l1_ratio=1.0, C=1 / 6, solver="saga", tol=1e-12, max_iter=100_000, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-4)


def test_elastic_net_is_the_sum_of_both() -> None:
    X, y = rows(d=6, n_classes=3)
    model = LogisticRegression(l1=2.0, l2=1.5, tol=1e-10).fit(X, y)
    theirs = sklearn.linear_model.LogisticRegression(
        l1_ratio=2.0 / 3.5, C=1 / 3.5, solver="saga", tol=1e-12, max_iter=100_000, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-6)


def test_a_factor_is_a_rescaled_column() -> None:
    """A column times 10 with a hundredth of the penalty has a tenth of the coefficient, under L2."""
    X, y = rows()
    plain = LogisticRegression(tol=1e-13).fit(X, y)
    scaled = LogisticRegression(tol=1e-13, penalty_factors=[100.0, 1.0, 1.0]).fit(X * [10.0, 1.0, 1.0], y)
    np.testing.assert_allclose(scaled.coef_ * [10.0, 1.0, 1.0], plain.coef_, rtol=1e-6)


def test_a_factor_of_zero_is_no_penalty() -> None:
    X, y = rows()
    held = LogisticRegression(l2=1e9, penalty_factors=[0.0, 1.0, 1.0], tol=1e-12).fit(X, y)
    alone = LogisticRegression(l2=0.0, tol=1e-12).fit(X[:, :1], y)
    np.testing.assert_allclose(held.coef_[0, 0], alone.coef_[0, 0], rtol=1e-5)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("bounds", [(0, None), (None, [0.1, 0.2, 0.3]), (-0.05, 0.05)])
def test_bounds_are_kept_exactly(bounds: tuple[Any, Any], n_classes: int) -> None:
    X, y = rows(n_classes)
    model = LogisticRegression(bounds=bounds).fit(X, y)
    lower = -np.inf if bounds[0] is None else np.asarray(bounds[0])
    upper = np.inf if bounds[1] is None else np.asarray(bounds[1])
    assert model.certificate_.status is Status.CERTIFIED
    assert (model.coef_ >= lower).all()
    assert (model.coef_ <= upper).all()
    free = LogisticRegression().fit(X, y)
    assert not ((free.coef_ >= lower).all() and (free.coef_ <= upper).all())


def test_an_offset_takes_the_place_of_a_column_whose_coefficient_is_known() -> None:
    X, y = rows()
    whole = LogisticRegression(l2=0.0, tol=1e-12).fit(X, y)
    rest = LogisticRegression(l2=0.0, tol=1e-12).fit(X[:, 1:], y, offset=X[:, 0] * whole.coef_[0, 0])
    np.testing.assert_allclose(rest.coef_[0], whole.coef_[0, 1:], rtol=1e-6)
    np.testing.assert_allclose(rest.intercept_, whole.intercept_, rtol=1e-6)


def test_an_offset_for_several_classes() -> None:
    X, y = rows(3)
    whole = LogisticRegression(l2=0.0, tol=1e-12).fit(X, y)
    rest = LogisticRegression(l2=0.0, tol=1e-12).fit(X[:, 1:], y, offset=X[:, :1] * whole.coef_[:, 0])
    np.testing.assert_allclose(rest.coef_, whole.coef_[:, 1:], rtol=1e-5, atol=1e-8)


def test_an_offset_of_the_wrong_shape_is_refused() -> None:
    X, y = rows()
    with pytest.raises(InputError, match=r"^offset has shape \(3,\): expected \(120,\), a number for each row"):
        LogisticRegression().fit(X, y, offset=[1.0, 2.0, 3.0])


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.5}])
def test_probabilities_are_rows_of_both_classes_in_proportion(class_weight: Any) -> None:
    X, y = rows()
    share = np.where(y == 1, 0.75, 0.125)
    soft = LogisticRegression(tol=1e-12, class_weight=class_weight).fit(X, share)
    each = {None: [1.0, 1.0], "balanced": len(y) / (2 * np.array([(1 - share).sum(), share.sum()]))}
    weights = np.asarray(each[class_weight] if not isinstance(class_weight, dict) else [2.0, 0.5])
    both = LogisticRegression(tol=1e-12).fit(
        np.vstack([X, X]),
        np.r_[np.zeros(len(X)), np.ones(len(X))],
        sample_weight=np.r_[(1 - share) * weights[0], share * weights[1]],
    )
    assert soft.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(coefficients(soft), coefficients(both), rtol=1e-6)


def test_distributions_over_classes() -> None:
    X, y = rows(3)
    hard = LogisticRegression().fit(X, y)
    same = LogisticRegression().fit(X, np.eye(3)[y])
    np.testing.assert_allclose(coefficients(same), coefficients(hard), rtol=1e-12)
    two = LogisticRegression().fit(X, np.stack([y == 0, y != 0], axis=1).astype(float))
    assert two.coef_.shape == (1, 3)
    with pytest.raises(InputError, match=r"at row 0: \[0\.5, 0\.2\]; expected a distribution"):
        LogisticRegression().fit(X, np.full((len(X), 2), [0.5, 0.2]))


def test_other_quantities_are_refused_in_scikit_learns_words() -> None:
    X, _ = rows()
    with pytest.raises(ValueError, match="Unknown label type"):
        LogisticRegression().fit(X, np.linspace(-3, 3, len(X)))


def test_penalty_factors_and_bounds_are_on_record(tmp_path: Path) -> None:
    X, y = rows()
    model = LogisticRegression(l1=1.0, penalty_factors=[1.0, 2.0, 0.0], bounds=(0, None)).fit(X, y)
    torchlogit.save(model, tmp_path / "model")
    assert torchlogit.load(tmp_path / "model").facts.penalty == {
        "l1": 1.0, "l2": 1.0, "factors": [1.0, 2.0, 0.0], "lower": [0.0, 0.0, 0.0]
    }  # fmt: skip
