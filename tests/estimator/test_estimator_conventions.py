"""LogisticRegression among scikit-learn's tools: its checks, meta-estimators, routing, callbacks, pictures."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import RFE, SelectFromModel
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve, validation_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import check_estimator

from classification import coefficients, rows
from torchlogit import SGD, LogisticRegression, Status, TableEncoder

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "l1, balanced": {"l1": 0.1, "class_weight": "balanced"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_scikit_learns_own_checks_pass_all_of_them(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = check_estimator(LogisticRegression(**SETTINGS[name]), on_skip=None, on_fail=None)
    assert [(check["check_name"], check["exception"]) for check in checks if check["status"] == "failed"] == []
    names = {check["check_name"] for check in checks if check["status"] == "passed"}
    assert len(names) > 45
    assert {"check_estimator_sparse_array", "check_sample_weight_equivalence_on_sparse_data"} <= names
    skipped = {check["check_name"] for check in checks if check["status"] == "skipped"}
    assert skipped <= {"check_array_api_input", "check_array_api_input_and_values"}


def test_copies_predict_the_same_and_know_what_the_first_knew() -> None:
    X, y = rows(3)
    frame = pd.DataFrame(X, columns=list("abc"))
    model = LogisticRegression(l2=0.5).fit(frame, y, eval_set=(frame[:30], y[:30]))
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other.predict_proba(frame), model.predict_proba(frame))
        for name in ("certificate_", "history_", "eval_history_", "n_iter_", "training_data_", "solver_"):
            assert getattr(other, name) == getattr(model, name)
        assert other.feature_names_in_.tolist() == ["a", "b", "c"]
        assert other.get_params() == model.get_params()
    unfitted = clone(model)
    assert not [name for name in vars(unfitted) if name.endswith("_")]


def test_a_copy_with_standard_errors_and_a_solver_that_has_settings() -> None:
    X, y = rows()
    model = LogisticRegression(l2=0, solver=SGD(n_epochs=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert again.covariance_ == model.covariance_
    assert clone(again).solver == model.solver
    exact = LogisticRegression(l2=0).fit(X, y)
    restored = pickle.loads(pickle.dumps(exact))
    assert np.array_equal(restored.covariance_.inverse, exact.covariance_.inverse)


def test_a_fit_holds_on_to_no_rows() -> None:
    """What a fit leaves behind is as large for many rows as for few."""
    X, y = rows(n=20_000)
    few = len(pickle.dumps(LogisticRegression(l2=0).fit(X[:2000], y[:2000])))
    many = len(pickle.dumps(LogisticRegression(l2=0).fit(X, y)))
    assert many < few + 2000


def test_it_is_a_classifier_of_two_classes_and_more_for_sparse_and_dense() -> None:
    tags = LogisticRegression().__sklearn_tags__()
    assert is_classifier(LogisticRegression())
    assert tags.input_tags.sparse
    assert not tags.input_tags.allow_nan
    assert tags.classifier_tags.multi_class
    assert tags.target_tags.required
    assert not tags.non_deterministic


# Meta-estimators


def test_a_grid_search_finds_the_penalty() -> None:
    X, y = rows(n=200)
    search = GridSearchCV(LogisticRegression(), {"l2": [1e-2, 1.0, 1e5]}, scoring="neg_log_loss", cv=3).fit(X, y)
    by_hand = [
        cross_val_score(LogisticRegression(l2=l2), X, y, scoring="neg_log_loss", cv=3).mean() for l2 in (1e-2, 1.0, 1e5)
    ]
    assert search.cv_results_["mean_test_score"].tolist() == by_hand
    assert search.best_params_["l2"] == [1e-2, 1.0, 1e5][int(np.argmax(by_hand))]
    assert search.best_estimator_.certificate_.status is Status.CERTIFIED


def test_folds_in_threads_of_their_own_give_the_same() -> None:
    X, y = rows()
    alone = cross_val_score(LogisticRegression(), X, y, cv=2, scoring="neg_log_loss")
    with joblib.parallel_config(backend="threading"):
        together = cross_val_score(LogisticRegression(), X, y, cv=2, scoring="neg_log_loss", n_jobs=2)
    assert together.tolist() == alone.tolist()


@pytest.mark.parametrize("kind", ["pandas", "arrays"])
def test_a_pipeline_and_a_column_transformer(kind: str) -> None:
    X, y = rows(d=2)
    frame = pd.DataFrame(X, columns=["age", "pay"]).assign(job=np.array(["clerk", "cook", "smith"] * 40))
    prepared = ColumnTransformer([("numbers", StandardScaler(), ["age", "pay"]), ("job", OneHotEncoder(), ["job"])])
    if kind == "pandas":
        prepared = ColumnTransformer(
            [("numbers", StandardScaler(), ["age", "pay"]), ("job", OneHotEncoder(sparse_output=False), ["job"])]
        ).set_output(transform="pandas")
    pipeline = make_pipeline(prepared, LogisticRegression()).fit(frame, y)
    assert pipeline.score(frame, y) > 0.6
    names = getattr(pipeline[-1], "feature_names_in_", None)
    assert (names is None) == (kind == "arrays")
    assert kind == "arrays" or names.tolist() == pipeline[0].get_feature_names_out().tolist()


def test_the_encoder_tells_the_estimator_the_names_of_the_features() -> None:
    X, y = rows(d=2)
    frame = pd.DataFrame(X, columns=["age", "pay"]).assign(job=np.array(["clerk", "cook", "smith"] * 40))
    pipeline = make_pipeline(TableEncoder().set_output(transform="pandas"), LogisticRegression()).fit(frame, y)
    assert pipeline[-1].feature_names_in_.tolist() == ["age", "pay", "job=clerk", "job=cook", "job=smith"]
    plain = make_pipeline(TableEncoder(), LogisticRegression()).fit(frame, y)
    assert np.array_equal(plain[-1].coef_, pipeline[-1].coef_)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration(method: str) -> None:
    X, y = rows(3, n=300)
    calibrated = CalibratedClassifierCV(LogisticRegression(), method=method, cv=3).fit(X, y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    assert calibrated.score(X, y) > 0.5


def test_features_are_selected_by_their_coefficients() -> None:
    X, y = rows(n=400, d=2)
    wide = np.hstack([X, np.random.default_rng(5).standard_normal((400, 6))])
    sparse_model = SelectFromModel(LogisticRegression(l1=30.0, l2=0.0)).fit(wide, y)
    assert sparse_model.get_support()[:2].any()
    assert not sparse_model.get_support()[2:].all()
    assert sparse_model.transform(wide).shape[1] == sparse_model.get_support().sum()
    assert RFE(LogisticRegression(), n_features_to_select=1).fit(wide, y).support_.sum() == 1


def test_importances_by_permutation() -> None:
    X, y = rows(n=300, d=2)
    wide = np.hstack([X, np.zeros((300, 1))])
    found = permutation_importance(LogisticRegression().fit(wide, y), wide, y, n_repeats=5, random_state=0)
    assert found.importances_mean[2] == 0
    assert found.importances_mean[:2].max() > 0.02


def test_curves() -> None:
    X, y = rows(n=300)
    sizes, train, test = learning_curve(LogisticRegression(), X, y, train_sizes=[50, 200], cv=3)
    assert sizes.tolist() == [50, 200]
    assert train.shape == test.shape == (2, 3)
    train, _ = validation_curve(LogisticRegression(), X, y, param_name="l2", param_range=[1e-3, 1e6], cv=3)
    assert train[0].mean() > train[1].mean() - 0.02


def test_one_against_the_rest_and_predictions_out_of_fold() -> None:
    X, y = rows(3)
    assert len(OneVsRestClassifier(LogisticRegression()).fit(X, y).estimators_) == 3
    out = cross_val_predict(LogisticRegression(), csr_array(X), y, cv=3, method="predict_proba")
    assert out.shape == (len(X), 3)
    np.testing.assert_allclose(out.sum(axis=1), 1)


# Metadata routing


@pytest.fixture
def routing() -> Any:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_offsets_and_validation_rows_are_routed_on_request(routing: Any) -> None:
    X, y = rows()
    weight, offset = np.random.default_rng(0).uniform(0.5, 2, len(X)), np.linspace(-1, 1, len(X))
    asked = LogisticRegression().set_fit_request(sample_weight=True, offset=True, eval_set=True)
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asked)
    others = (X[:40], y[:40])
    pipeline.fit(X, y, sample_weight=weight, offset=offset, eval_set=others)
    scaled = StandardScaler().fit_transform(X)
    direct = LogisticRegression().fit(scaled, y, sample_weight=weight, offset=offset, eval_set=others)
    assert np.array_equal(coefficients(pipeline[-1]), coefficients(direct))
    assert [step.log_loss for step in pipeline[-1].eval_history_] == [step.log_loss for step in direct.eval_history_]


def test_a_search_passes_weights_to_fit_and_to_score(routing: Any) -> None:
    X, y = rows()
    weight = np.random.default_rng(0).uniform(0, 2, len(X))
    asked = LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(asked, {"l2": [1.0]}, cv=2).fit(X, y, sample_weight=weight)
    whole = LogisticRegression().fit(X, y, sample_weight=weight)
    assert np.array_equal(coefficients(search.best_estimator_), coefficients(whole))


def test_what_is_not_asked_for_is_refused(routing: Any) -> None:
    X, y = rows()
    with pytest.raises(ValueError, match="sample_weight"):
        make_pipeline(LogisticRegression()).fit(X, y, sample_weight=np.ones(len(X)))


# The picture in a notebook


def test_the_picture_shows_what_was_changed_and_has_no_link() -> None:
    assert "0.25" in estimator_html_repr(LogisticRegression(l2=0.25))
    assert "Documentation for LogisticRegression" not in estimator_html_repr(LogisticRegression())
    assert "LogisticRegression" in estimator_html_repr(LogisticRegression().fit(*rows()))
    assert "LogisticRegression" in estimator_html_repr(make_pipeline(TableEncoder(), LogisticRegression()))


def test_the_text_shows_what_was_changed() -> None:
    assert repr(LogisticRegression(l2=0.5)) == "LogisticRegression(l2=0.5)"
    assert repr(LogisticRegression()) == "LogisticRegression()"
