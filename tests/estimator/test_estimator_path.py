"""l2 chosen by the data: LogisticRegression(l2="auto"), LogisticRegressionPath, and train --l2 auto."""

from __future__ import annotations

import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

import torchlogit
from classification import coefficients, rows
from commands import torchlogit as command
from places import DATA
from torchlogit import InputError, L2Choice, LogisticRegression, LogisticRegressionPath, Status, TableEncoder
from torchlogit.estimator.rows import checked_labels
from torchlogit.penalties import ElasticNet
from torchlogit.training.l2_choice import folds
from torchlogit.training.problem import objective_of
from torchlogit.training.rows import LabelledRows

FEW = (10.0, 1.0, 0.1)


# These two call partial_fit before any fit, where an l2 that is yet to be chosen cannot be: an InputError says so.
NO_PARTIAL_FIT_YET = dict.fromkeys(
    ("check_n_features_in_after_fitting", "check_estimators_partial_fit_n_features"), "fit first"
)


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (LogisticRegressionPath(l2s=FEW), {}),
        pytest.param(LogisticRegression(l2=L2Choice(l2s=FEW)), NO_PARTIAL_FIT_YET, marks=pytest.mark.slow),
    ],
    ids=["path", "l2 chosen"],
)
def test_scikit_learns_own_checks_pass(estimator: Any, expected: dict[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = check_estimator(estimator, on_skip=None, on_fail=None)
    assert len(checks) > 50
    failed = {check["check_name"]: check["exception"] for check in checks if check["status"] == "failed"}
    assert failed.keys() == expected.keys()
    for name, message in expected.items():
        assert isinstance(failed[name], InputError)
        assert message in str(failed[name])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_auto_is_the_fit_with_the_l2_that_was_chosen(n_classes: int) -> None:
    X, y = rows(n_classes)
    auto = LogisticRegression(l2="auto").fit(X, y)
    given = LogisticRegression(l2=auto.l2_).fit(X, y)
    assert np.array_equal(coefficients(auto), coefficients(given))
    assert given.l2_ == auto.l2_
    assert not hasattr(given, "path_")
    assert auto.chosen_by_ == "alo"
    assert auto.l2_ == min(auto.path_, key=lambda point: point.loss).l2
    (point,) = (point for point in auto.path_ if point.l2 == auto.l2_)
    assert (point.objective, point.bound) == (auto.certificate_.objective, auto.certificate_.bound)
    assert auto.certificate_.status is Status.CERTIFIED


@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_a_path_leaves_behind(n_classes: int) -> None:
    X, y = rows(n_classes)
    path = LogisticRegressionPath(l2s=[0.1, 10.0, 1.0]).fit(X, y)
    outputs = 1 if n_classes == 2 else n_classes
    assert path.l2s_.tolist() == [point.l2 for point in path.path_] == list(FEW)
    assert path.coefs_.shape == (3, outputs, 3)
    assert path.intercepts_.shape == (3, outputs)
    assert path.n_features_in_ == 3
    assert path.l2_ == path.model_.l2 in FEW
    for name in ("coef_", "intercept_", "classes_", "certificate_", "n_iter_"):
        assert getattr(path, name) is getattr(path.model_, name)
    for l2, coef, intercept in zip(path.l2s_, path.coefs_, path.intercepts_, strict=True):
        single = LogisticRegression(l2=l2, tol=1e-10).fit(X, y)
        np.testing.assert_allclose(coef, single.coef_, rtol=1e-2, atol=1e-2)
        np.testing.assert_allclose(intercept, single.intercept_, rtol=1e-2, atol=1e-2)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert np.array_equal(getattr(path, name)(X), getattr(path.model_, name)(X))
    assert path.score(X, y) == path.model_.score(X, y)
    assert "l2</text>" in path.picture()
    assert "by approximate leave-one-out" in path.picture()


def test_any_point_is_certified_on_request() -> None:
    X, y = rows(3)
    path = LogisticRegressionPath(l2s=FEW).fit(X, y)
    others = [l2 for l2 in FEW if l2 != path.l2_]
    assert [point.l2 for point in path.path_ if point.bound is None] == others
    for l2 in others:
        model = path.certify(l2)
        assert (model.l2, model.certificate_.status) == (l2, Status.CERTIFIED)
        np.testing.assert_allclose(coefficients(model), coefficients(LogisticRegression(l2=l2).fit(X, y)), atol=1e-3)
    for point in path.path_:
        assert point.bound is not None
        assert point.bound <= 1e-6 * point.objective
    between = path.certify(3.0)
    assert between.certificate_.status is Status.CERTIFIED
    assert len(path.path_) == 3


def test_certifying_keeps_weights_and_offsets() -> None:
    X, y = rows()
    weight, offset = np.arange(len(y)) % 3 + 1.0, np.linspace(-1, 1, len(y))
    path = LogisticRegressionPath(l2s=FEW).fit(X, y, weight, offset=offset)
    single = LogisticRegression(l2=10.0).fit(X, y, weight, offset=offset)
    np.testing.assert_allclose(coefficients(path.certify(10.0)), coefficients(single), atol=1e-3)


def test_a_pickle_predicts_and_holds_no_rows() -> None:
    X, y = rows()
    path = LogisticRegressionPath(l2s=FEW).fit(X, y)
    again = pickle.loads(pickle.dumps(path))
    assert np.array_equal(again.predict_proba(X), path.predict_proba(X))
    assert again.path_ == path.path_
    with pytest.raises(InputError, match="does not hold the rows"):
        again.certify(1.0)
    assert path.certify(1.0).certificate_.status is Status.CERTIFIED
    assert not hasattr(clone(path), "model_")
    with pytest.raises(NotFittedError):
        clone(path).certify(1.0)


def test_frames_sparse_rows_and_far_columns() -> None:
    X, y = rows()
    plain = LogisticRegressionPath(l2s=FEW).fit(X, y)
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = LogisticRegressionPath(l2s=FEW).fit(frame, y)
    assert named.feature_names_in_.tolist() == named.model_.feature_names_in_.tolist() == ["a", "b", "c"]
    sparse = LogisticRegressionPath(l2s=FEW).fit(scipy.sparse.csr_matrix(X), y)
    far = LogisticRegressionPath(l2s=FEW).fit(X + np.array([0.0, 1e9, 0.0]), y)
    for other in (named, sparse, far):
        np.testing.assert_allclose(other.coefs_, plain.coefs_, atol=2e-3)
    np.testing.assert_allclose(far.intercepts_ + 1e9 * far.coefs_[:, :, 1], plain.intercepts_, atol=3e-3)
    assert named.predict(frame).tolist() == plain.predict(X).tolist()


def test_a_saved_model_has_the_l2_that_was_chosen(tmp_path: Path) -> None:
    X, y = rows()
    auto = LogisticRegression(l2="auto").fit(X, y)
    torchlogit.save(auto, tmp_path / "auto.safetensors")
    assert torchlogit.load(tmp_path / "auto.safetensors").facts.penalty["l2"] == auto.l2_
    path = LogisticRegressionPath(l2s=FEW).fit(X, y)
    torchlogit.save(path.model_, tmp_path / "path.safetensors")
    assert torchlogit.load(tmp_path / "path.safetensors").facts.penalty["l2"] == path.l2_


# Ways to choose


def test_validation_rows_choose() -> None:
    X, y = rows(n=60)
    X_valid, y_valid = rows(n=400, seed=0)
    path = LogisticRegressionPath().fit(X, y, eval_set=(X_valid, y_valid))
    assert path.chosen_by_ == "validation"
    (point,) = (point for point in path.path_ if point.l2 == path.l2_)
    assert point.loss == pytest.approx(log_loss(y_valid, path.predict_proba(X_valid)), rel=1e-3)
    shares = np.random.default_rng(0).random(60)
    soft = LogisticRegressionPath().fit(X, shares, eval_set=(X, shares))
    assert soft.chosen_by_ == "validation"


def test_the_eval_set_of_a_fit_chooses_its_l2() -> None:
    X, y = rows(n=60)
    X_valid, y_valid = rows(n=400, seed=0)
    weight = np.random.default_rng(0).integers(0, 3, 400)
    weighted = LogisticRegression(l2="auto").fit(X, y, eval_set=(X_valid, y_valid, weight))
    repeated = LogisticRegressionPath().fit(X, y, eval_set=(X_valid.repeat(weight, 0), y_valid.repeat(weight)))
    assert weighted.chosen_by_ == "validation"
    assert weighted.l2_ == pytest.approx(repeated.l2_, rel=1e-3)
    assert len(weighted.eval_history_) == len(weighted.history_)
    by_itself = LogisticRegression(l2="auto").fit(X, y)
    assert by_itself.l2_ != weighted.l2_
    own = LogisticRegression(l2=L2Choice(eval_set=(X_valid, y_valid, weight))).fit(X, y, eval_set=(X, y))
    assert own.l2_ == weighted.l2_
    for by in ("alo", "cv"):
        assert LogisticRegression(l2=L2Choice(l2s=FEW, by=by)).fit(X, y, eval_set=(X, y)).chosen_by_ == by


def test_validation_labels_are_those_of_the_fit() -> None:
    X, y = rows()
    words = np.array(["no", "yes"])[y]
    path = LogisticRegressionPath(l2s=FEW).fit(X, words, eval_set=(X, words))
    assert path.classes_.tolist() == ["no", "yes"]
    others = words.astype(object)
    others[3] = "maybe"
    with pytest.raises(InputError, match=r"y holds 'maybe' at row 3"):
        LogisticRegressionPath(l2s=FEW).fit(X, words, eval_set=(X, others))


def test_folds_choose_and_so_does_one_standard_error() -> None:
    X, y = rows(n=60, d=10)
    by_folds = LogisticRegressionPath(choose="cv", random_state=0).fit(X, y)
    assert by_folds.chosen_by_ == "cv"
    simpler = LogisticRegressionPath(choose="cv", random_state=0, one_standard_error=True).fit(X, y)
    assert simpler.l2_ > by_folds.l2_


@pytest.mark.parametrize("splitter", [StratifiedKFold(3), KFold(4, shuffle=True, random_state=0)])
def test_splitters_of_scikit_learn(splitter: Any) -> None:
    X, y = rows()
    path = LogisticRegressionPath(l2s=FEW, choose="cv", cv=splitter).fit(X, y)
    given = LogisticRegressionPath(l2s=FEW, choose="cv", cv=list(splitter.split(X, y))).fit(X, y)
    assert path.path_ == given.path_


def test_what_cannot_be_folds_is_refused() -> None:
    X, y = rows()
    for cv in (ShuffleSplit(3), [(np.arange(50), np.arange(50, 60))], 1, 0):
        with pytest.raises(InputError, match="cv"):
            LogisticRegressionPath(l2s=FEW, choose="cv", cv=cv).fit(X, y)
    with pytest.raises(ValueError, match="groups"):
        LogisticRegressionPath(l2s=FEW, choose="cv", cv=GroupKFold(3)).fit(X, y)


def folds_of(y: NDArray[Any], cv: int, weight: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    weight = np.ones(len(y)) if weight is None else weight
    targets = checked_labels(y)
    rows = LabelledRows.of(np.zeros((len(y), 1)), targets, weight)
    objective = objective_of(rows, ElasticNet(l2=1.0), intercept=True, device=torch.device("cpu"))
    return folds(objective, targets, cv, 0).numpy()


def test_folds_have_every_class_alike() -> None:
    y = np.repeat([0, 1, 2], [50, 23, 8])
    fold = folds_of(y, 5)
    for code in range(3):
        counts = np.bincount(fold[y == code], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 1


def test_lone_and_weightless_rows_are_in_no_fold() -> None:
    y = np.repeat([0, 1, 2], [20, 19, 1])
    weight = np.ones(40)
    weight[:5] = 0
    fold = folds_of(y, 5, weight)
    assert (fold[:5] == -1).all()
    assert fold[-1] == -1
    assert (fold[5:-1] >= 0).all()
    with pytest.raises(InputError, match="too few for two folds"):
        folds_of(np.array([0, 1]), 5)


def test_weights_are_counts() -> None:
    """What is left out of a row of weight three is one of three."""
    X, y = rows(3)
    weight = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = LogisticRegression(l2="auto").fit(X, y, weight)
    repeated = LogisticRegression(l2="auto").fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert weighted.l2_ == repeated.l2_
    assert [p.loss for p in weighted.path_] == pytest.approx([p.loss for p in repeated.path_], rel=1e-3)


def test_class_weights_are_no_counts() -> None:
    X, y = rows()
    weight = np.where(y == 1, 5.0, 1.0)
    by_class = LogisticRegression(l2=L2Choice(l2s=(1.0,)), class_weight={0: 1.0, 1: 5.0}).fit(X, y)
    as_counts = LogisticRegression(l2=L2Choice(l2s=(1.0,))).fit(X, y, weight)
    np.testing.assert_allclose(by_class.coef_, as_counts.coef_, atol=1e-3)
    assert by_class.path_[0].loss > as_counts.path_[0].loss  # a whole row is left out, not a fifth of one


REFUSED = {
    "a word": ({"l2": "best"}, "expected a number that is not negative, 'auto', or an L2Choice"),
    "nothing": ({"l2": None}, "expected a number"),
    "l1": ({"l2": "auto", "l1": 1.0}, "without l1 and without bounds"),
    "bounds": ({"l2": "auto", "bounds": (0, None)}, "without l1 and without bounds"),
    "by itself": ({"l2": L2Choice(by="validation")}, "give the rows"),
}


@pytest.mark.parametrize(("settings", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        LogisticRegression(**settings).fit(*rows())


def test_an_unknown_way_to_choose_is_refused() -> None:
    with pytest.raises(InputError, match="expected one of auto, alo, cv, validation"):
        LogisticRegressionPath(choose="aic").fit(*rows())  # type: ignore[arg-type]


# Command line


def test_the_command_line_chooses_the_same(tmp_path: Path) -> None:
    X, y = rows()
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(y=np.array(["no", "yes"])[y])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    ended = command(tmp_path, "train", "rows.csv", "--target", "y", "--l2", "auto", "--json")
    assert ended.code == 0, ended.stderr
    pipeline = make_pipeline(TableEncoder(), LogisticRegression(l2="auto", random_state=0))
    pipeline.fit(pd.read_csv(tmp_path / "rows.csv").drop(columns="y"), frame["y"])
    assert json.loads(ended.stdout)["l2"] == pipeline[-1].l2_
    shown = command(tmp_path, "train", "rows.csv", "--target", "y", "--l2", "auto")
    assert f"l2           {pipeline[-1].l2_:g}, chosen by approximate leave-one-out" in shown.stdout
    inspected = command(tmp_path, "inspect", "rows.safetensors", "--json")
    assert json.loads(inspected.stdout)["facts"]["penalty"]["l2"] == pipeline[-1].l2_


# Real data


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the shared data folder at {DATA}")
@pytest.mark.parametrize("name", ["sonar", "pima-indians-diabetes"])
def test_rows_not_seen_are_predicted_no_worse_than_by_default(name: str) -> None:
    """Over three halves, by the mean log loss; and the estimate is near what comes out."""
    values = pd.read_csv(DATA / "uci_small" / f"{name}.csv", header=None)
    X, y = values.iloc[:, :-1].to_numpy(float), pd.factorize(values.iloc[:, -1], sort=True)[0]
    X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    auto, default, promised = [], [], []
    for seed in range(3):
        train = np.random.default_rng(seed).random(len(y)) < 0.5
        chosen = LogisticRegression(l2="auto").fit(X[train], y[train])
        plain = LogisticRegression().fit(X[train], y[train])
        auto.append(log_loss(y[~train], chosen.predict_proba(X[~train])))
        default.append(log_loss(y[~train], plain.predict_proba(X[~train])))
        promised.append(min(point.loss for point in chosen.path_))
    assert np.mean(auto) <= np.mean(default) + 0.01
    assert np.mean(promised) == pytest.approx(np.mean(auto), rel=0.2)


def test_the_certified_point_of_the_path_has_the_certified_coefficients() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    y = rng.random(60) < 1 / (1 + np.exp(-X[:, 0]))
    path = LogisticRegressionPath(l2s=[100.0, 1.0, 0.01], tol=1e-9).fit(X, y)
    at = int(np.flatnonzero(path.l2s_ == path.l2_)[0])
    assert np.array_equal(path.coefs_[at], path.coef_)
    assert np.array_equal(path.intercepts_[at], path.intercept_)
    other = float(path.l2s_[path.l2s_ != path.l2_][0])
    model = path.certify(other)
    at = int(np.flatnonzero(path.l2s_ == other)[0])
    assert np.array_equal(path.coefs_[at], model.coef_)
    assert np.array_equal(path.intercepts_[at], model.intercept_)
