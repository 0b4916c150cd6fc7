"""partial_fit and solver="streaming": what they promise in docs/streams.md, and models that go on learning."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from sklearn.base import clone

from classification import coefficients, rows
from torchlogit import InputError, LogisticModel, LogisticRegression, ModelFileError, TorchlogitWarning, load, save
from torchlogit.data.targets import Targets
from torchlogit.design import as_csr
from torchlogit.inference import Refusal
from torchlogit.training.fitted import Fitted
from torchlogit.training.one_pass import train_one_pass
from torchlogit.training.rows import LabelledRows
from torchlogit.training.settings import Settings
from torchlogit.training.to_model import starting_point, to_model

Array = NDArray[np.float64]


def shown(model: LogisticRegression) -> tuple[Any, ...]:
    """What a user sees of a model, to the bit."""
    arrays = model.coef_.tobytes(), model.intercept_.tobytes(), model.classes_.tolist()
    return *arrays, model.certificate_, model.training_data_, model.progressive_, model.n_iter_


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 1: 0.5}])
def test_parts_are_the_whole_to_the_bit(n_classes: int, class_weight: Any) -> None:
    X, y = rows(n_classes, n=900)
    weight = np.random.default_rng(0).integers(0, 3, 900).astype(float)
    weight[[0, 300]] = 1  # scikit-learn refuses weights that are all zero
    whole = LogisticRegression(class_weight=class_weight).partial_fit(X, y, sample_weight=weight)
    parts = LogisticRegression(class_weight=class_weight)
    for part in np.split(np.arange(900), [3, 3, 300, 301, 800]):
        if len(part):
            parts.partial_fit(X[part], y[part], classes=range(n_classes), sample_weight=weight[part])
    assert shown(parts) == shown(whole)


def test_streaming_is_partial_fit_of_all_rows() -> None:
    X, y = rows(3, n=900)
    fitted = LogisticRegression(solver="streaming").fit(X, y)
    assert shown(fitted) == shown(LogisticRegression().partial_fit(X, y))
    assert shown(fitted) == shown(LogisticRegression(solver="streaming").fit(scipy.sparse.csr_array(X), y))
    assert fitted.certificate_.status == "uncertifiable"
    assert fitted.certificate_.bound is None
    assert re.match(r"log loss [\d.]+ on 900 rows, each read once", fitted.certificate_.message)
    assert isinstance(fitted.covariance_, Refusal)
    assert fitted.n_iter_ == 1


def test_one_pass_is_near_the_optimum() -> None:
    X, y = rows(2, n=4000, d=5)
    best = LogisticRegression(tol=1e-10).fit(X, y)
    once = LogisticRegression(solver="streaming").fit(X, y)

    def objective(model: LogisticRegression) -> float:
        z = X @ model.coef_[0] + model.intercept_[0]
        return float(np.logaddexp(0, -(2 * y - 1) * z).sum() + 0.5 * np.square(model.coef_).sum())

    assert 0 <= objective(once) - objective(best) < 6 / 2  # p / 2 nats in all: the statistical error


def test_a_fit_on_soft_targets_with_an_offset_in_one_pass() -> None:
    X, y = rows(2, n=2000)
    soft, offset = np.where(y == 1, 0.9, 0.1), X[:, 0].copy()
    once = LogisticRegression(solver="streaming").fit(X, soft, offset=offset)
    best = LogisticRegression().fit(X, soft, offset=offset)
    np.testing.assert_allclose(once.coef_, best.coef_, atol=0.15)


def test_a_stream_that_is_no_better_than_the_class_share_warns() -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(2000, 9)), (random.random(2000) < 0.03).astype(int)
    said = "no better than always predicting the class share of the rows so far, so all coefficients are 0"
    with pytest.warns(TorchlogitWarning, match=said):
        parts = LogisticRegression().partial_fit(X, y)
    with pytest.warns(TorchlogitWarning, match=said):
        whole = LogisticRegression(solver="streaming").fit(X, y)
    assert shown(parts) == shown(whole)
    assert not parts.coef_.any()
    np.testing.assert_allclose(parts.predict_proba(X)[:, 1], (y.sum() + 0.5) / 2001)


def test_classes_need_no_announcement_once_they_are_known() -> None:
    X, y = rows(3, n=300)
    names = np.array(["ant", "bee", "cat"])[y]
    model = LogisticRegression().fit(X, names)
    model.partial_fit(X[:1], names[:1])
    assert model.classes_.tolist() == ["ant", "bee", "cat"]
    fresh = LogisticRegression()
    fresh.partial_fit(X[names == "ant"], names[names == "ant"], classes=["cat", "bee", "ant"])
    assert fresh.classes_.tolist() == ["ant", "bee", "cat"]
    assert fresh.predict(X[:5]).tolist() == ["ant"] * 5
    fresh.partial_fit(X[names == "cat"], names[names == "cat"])
    assert set(fresh.predict(X)) == {"ant", "cat"}


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "one class": (
        lambda: LogisticRegression().partial_fit([[1.0]], ["no"]),
        "y has one class only, 'no': announce all classes, partial_fit(X, y, classes=['no', ...])",
    ),
    "a class never announced": (
        lambda: LogisticRegression().partial_fit([[1.0], [2.0]], [0, 1]).partial_fit([[3.0]], [2]),
        "y holds 2, which is none of the classes [0, 1]: announce every class with the first call of partial_fit, "
        "classes=[2, ...]",
    ),
    "a class never fitted": (
        lambda: LogisticRegression().fit([[1.0], [2.0]], ["a", "b"]).partial_fit([[3.0]], ["c"]),
        "y holds 'c', which is none of the classes ['a', 'b']: announce every class with the first call of "
        "partial_fit, classes=['c', ...]",
    ),
    "other classes later": (
        lambda: LogisticRegression().partial_fit([[1.0], [2.0]], [0, 1]).partial_fit([[3.0]], [1], classes=[0, 1, 2]),
        "classes=[0, 1, 2]: the model has [0, 1]; use a new model for others",
    ),
    "l1": (
        lambda: LogisticRegression(l1=1.0, solver="streaming").fit([[1.0], [2.0]], [0, 1]),
        "l1 or bounds: learning in one pass takes l2 alone; set l1=0, or fit without streaming",
    ),
    "l2 to be chosen": (
        lambda: LogisticRegression(l2="auto").partial_fit([[1.0], [2.0]], [0, 1]),
        "l2 cannot be chosen from rows that are read once: give l2 as a number, or call fit first",
    ),
    "l2 to be chosen in one pass": (
        lambda: LogisticRegression(l2="auto", solver="streaming").fit([[1.0], [2.0]], [0, 1]),
        "l2 cannot be chosen from rows that are read once: give l2 as a number, or call fit first",
    ),
    "a class weight that is none": (
        lambda: LogisticRegression(class_weight="even").partial_fit([[1.0], [2.0]], [0, 1]),
        "class_weight='even': expected None, 'balanced' or a dict",
    ),
    "fit on one class": (
        lambda: LogisticRegression(solver="streaming").fit([[1.0], [2.0]], [0, 1], [1.0, 0.0]),
        "y has one class only among the rows of positive sample_weight: expected at least two classes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_in_one_sentence(name: str) -> None:
    call, message = REFUSED[name]
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()


def test_the_l2_that_a_fit_chose_is_gone_on_with() -> None:
    X, y = rows(n=200)
    chosen = LogisticRegression(l2="auto").fit(X, y)
    given = LogisticRegression(l2=chosen.l2_).fit(X, y)
    assert shown(chosen.partial_fit(X[:50], y[:50])) == shown(given.partial_fit(X[:50], y[:50]))


@pytest.mark.parametrize("settings", [{"l1": 1.0}, {"bounds": (0, None)}])
def test_there_is_no_partial_fit_with_l1_or_bounds_and_the_cause_is_told(settings: dict[str, Any]) -> None:
    model = LogisticRegression(**settings)
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match=r"has no attribute 'partial_fit'$") as refused:
        model.partial_fit([[1.0], [2.0]], [0, 1])
    assert str(refused.value.__cause__).startswith("l1 or bounds: learning in one pass takes l2 alone; ")


def test_other_columns_are_refused() -> None:
    model = LogisticRegression().partial_fit([[1.0], [2.0]], [0, 1])
    with pytest.raises(ValueError, match="2 features, but LogisticRegression is expecting 1 features"):
        model.partial_fit([[1.0, 2.0]], [0])


def test_a_refused_call_leaves_the_model_as_it_was() -> None:
    X, y = rows(n=400)
    model, other = LogisticRegression(class_weight="balanced"), LogisticRegression(class_weight="balanced")
    for part in (slice(0, 100), slice(100, 400)):
        other.partial_fit(X[part], y[part])
    model.partial_fit(X[:100], y[:100])
    with pytest.raises(InputError):
        model.partial_fit(X[:2], [0, 7])
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(np.full((2, 3), np.nan), [0, 1])
    model.partial_fit(X[100:], y[100:])
    assert shown(model) == shown(other)


def test_balanced_counts_as_they_run() -> None:
    X, y = rows(n=6000)
    keep = (y == 1) | (np.arange(6000) % 5 == 0)
    X, y = X[keep], y[keep]
    running = LogisticRegression(class_weight="balanced").partial_fit(X, y)
    at_once = LogisticRegression(class_weight="balanced").fit(X, y)
    plain = LogisticRegression().fit(X, y)
    np.testing.assert_allclose(coefficients(running), coefficients(at_once), atol=0.2)
    assert abs(plain.intercept_[0] - at_once.intercept_[0]) > 1


def test_after_fit_it_goes_on_from_there() -> None:
    X, y = rows(n=3000)
    model = LogisticRegression().fit(X[:2000], y[:2000])
    before, whole = coefficients(model), coefficients(LogisticRegression().fit(X, y))
    model.partial_fit(X[2000:], y[2000:])
    assert np.abs(coefficients(model) - whole).max() < np.abs(before - whole).max()
    assert np.abs(coefficients(model) - whole).max() < 0.1
    assert model.training_data_["rows"] == 1000
    again = LogisticRegression().fit(X[:2000], y[:2000])
    for part in (slice(2000, 2007), slice(2007, 3000)):
        again.partial_fit(X[part], y[part])
    assert shown(again) == shown(model)


def test_fit_forgets_what_was_learned_before() -> None:
    X, y = rows(n=600)
    model = LogisticRegression().partial_fit(X, 1 - y).fit(X, y)
    fresh = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(coefficients(model), coefficients(fresh))
    np.testing.assert_array_equal(coefficients(model.partial_fit(X, y)), coefficients(fresh.partial_fit(X, y)))
    assert not hasattr(clone(model), "coef_")


def test_wide_rows_go_to_the_online_method() -> None:
    random = np.random.default_rng(0)
    X = scipy.sparse.random_array((2000, 5000), density=0.002, rng=random, format="csr")
    y = (X @ random.standard_normal(5000) > 0).astype(int)
    model = LogisticRegression().partial_fit(X, y)
    assert type(model.solver_).__name__ == "ScaleFree"
    parts = LogisticRegression()
    for part in (slice(0, 1), slice(1, 700), slice(700, 2000)):
        parts.partial_fit(X[part], y[part], classes=[0, 1])
    assert shown(parts) == shown(model)
    assert model.progressive_.log_loss < 0.69


def further(model: LogisticModel, X: Any, y: Any, **settings: Any) -> Fitted:
    """A saved model trained further on these rows, as `train --update` does."""
    X = as_csr(X) if scipy.sparse.issparse(X) else X
    given = LabelledRows.of(X, Targets(np.array(model.classes, dtype=object), y, None), np.ones(len(y)))
    return train_one_pass(Settings(**settings), [given], X.shape[1], given.classes, start=starting_point(model))


# -- models that go on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_saved_model_goes_on_as_if_it_had_never_been_saved(tmp_path: Path, wide: bool, n_classes: int) -> None:
    X, y = rows(n_classes, n=900)
    X = scipy.sparse.csr_array((X.ravel(), np.arange(2700) % 2500, np.arange(0, 2701, 3)), (900, 2500)) if wide else X
    whole = LogisticRegression(class_weight="balanced").partial_fit(X, y)
    before = LogisticRegression(class_weight="balanced").partial_fit(X[:400], y[:400])
    save(before, tmp_path / "before")
    save(whole, tmp_path / "whole")
    fitted = further(load(tmp_path / "before"), X[400:], y[400:], class_weight="balanced")
    assert np.array_equal(fitted.coef.T, whole.coef_)
    assert np.array_equal(fitted.intercept, whole.intercept_)
    assert (fitted.certificate, fitted.progressive) == (whole.certificate_, whole.progressive_)
    assert (fitted.rows, fitted.passes) == (whole.training_data_, whole.n_iter_)
    to_model(fitted).save(tmp_path / "after")
    assert (tmp_path / "after").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_certified_model_goes_on_from_its_coefficients(tmp_path: Path) -> None:
    X, y = rows(n=3000)
    fitted = LogisticRegression().fit(X[:2000], y[:2000])
    save(fitted, tmp_path / "m")
    model = load(tmp_path / "m")
    assert model.state is None
    gone_on, expected = further(model, X[2000:], y[2000:]), fitted.partial_fit(X[2000:], y[2000:])
    assert np.array_equal(gone_on.coef.T, expected.coef_)
    assert np.array_equal(gone_on.intercept, expected.intercept_)
    assert (gone_on.certificate, gone_on.progressive) == (expected.certificate_, expected.progressive_)
    assert (gone_on.rows, gone_on.passes) == (expected.training_data_, expected.n_iter_)


def test_a_changed_state_in_a_model_file_is_refused(tmp_path: Path) -> None:
    X, y = rows(n=300)
    save(LogisticRegression().partial_fit(X, y), tmp_path / "m")
    content = bytearray((tmp_path / "m").read_bytes())
    content[-9] ^= 1  # within the last tensor, which is of the state
    (tmp_path / "m").write_bytes(bytes(content))
    with pytest.raises(ModelFileError, match="the checksum does not fit the contents; the file is damaged"):
        load(tmp_path / "m")
