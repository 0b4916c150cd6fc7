"""What looks on while LogisticRegression fits: validation rows, warm starts, scikit-learn's callbacks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from classification import coefficients, rows
from profiles import examples
from torchlogit import SGD, InputError, LogisticRegression, Status
from torchlogit.design import Dense
from torchlogit.estimator import callbacks
from torchlogit.losses import Logistic
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, FitResult, Params
from torchlogit.training.fitted import ValidationStep
from torchlogit.training.validation import PATIENCE, certificate_at, value_at

Array = NDArray[np.float64]


def halves(n_classes: int = 2, n: int = 240, d: int = 3) -> tuple[Array, Any, Array, Any]:
    X, y = rows(n_classes, n=n, d=d)
    return X[::2], y[::2], X[1::2], y[1::2]


def overfitting() -> tuple[Array, Any, Array, Any]:
    """As many columns as a third of the rows, and labels that are mostly noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((240, 40))
    y = (X[:, 0] + 3 * rng.logistic(size=240) > 0).astype(int)
    return X[:120], y[:120], X[120:], y[120:]


def objective_value(model: LogisticRegression, X: Any, y: Any) -> float:
    raw = X @ model.coef_.T + model.intercept_
    losses = np.logaddexp(0, raw[:, 0]) - y * raw[:, 0]
    return float(losses.sum() + model.l2 / 2 * (model.coef_**2).sum())


# The validation set


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("form", [np.asarray, csr_array, torch.from_numpy], ids=["dense", "sparse", "tensor"])
def test_every_step_is_measured_on_the_validation_set(n_classes: int, form: Any) -> None:
    X, y, X2, y2 = halves(n_classes)
    weight = np.random.default_rng(0).uniform(0, 2, len(y2))
    model = LogisticRegression().fit(form(X), y, eval_set=(form(X2), y2, weight))
    assert model.certificate_.status is Status.CERTIFIED
    assert [step.passes for step in model.eval_history_] == [step.passes for step in model.history_]
    seconds = [step.seconds for step in model.eval_history_]
    assert seconds == sorted(seconds)
    expected = log_loss(y2, model.predict_proba(X2), sample_weight=weight)
    assert model.eval_history_[-1].log_loss == pytest.approx(expected, rel=1e-12)
    assert np.array_equal(coefficients(model), coefficients(LogisticRegression().fit(form(X), y)))


def test_a_fit_without_a_validation_set_forgets_the_last_ones_history() -> None:
    X, y, X2, y2 = halves()
    model = LogisticRegression().fit(X, y, eval_set=(X2, y2))
    assert isinstance(model.eval_history_[0], ValidationStep)
    assert not hasattr(model.fit(X, y), "eval_history_")


def test_columns_far_from_zero_are_measured_as_they_are() -> None:
    rng = np.random.default_rng(4)
    X = 1.7e9 + 600 * rng.standard_normal((400, 1))
    y = (rng.random(400) < 1 / (1 + np.exp(-(X[:, 0] - 1.7e9) / 300))).astype(int)
    model = LogisticRegression().fit(X[:200], y[:200], eval_set=(X[200:], y[200:]))
    assert model._fitted.center is not None
    assert model.eval_history_[-1].log_loss == pytest.approx(log_loss(y[200:], model.predict_proba(X[200:])), rel=1e-6)


def test_a_fit_ends_once_it_no_longer_improves_and_keeps_the_best_step() -> None:
    X, y, X2, y2 = overfitting()
    solver = SGD(learning_rate=0.3, batch_size=10, n_epochs=100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # to end early is what was asked for
        model = LogisticRegression(l2=0.0, solver=solver).fit(X, y, eval_set=(X2, y2))
    losses = [step.log_loss for step in model.eval_history_]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + PATIENCE < 100
    assert log_loss(y2, model.predict_proba(X2)) == pytest.approx(losses[best], rel=1e-12)
    certificate = model.certificate_
    assert certificate.status is Status.BUDGET
    assert certificate.message.startswith(
        f"stopped early: no better log loss on eval_set in {PATIENCE} steps; the best step on eval_set, after "
        f"{best + 1} passes, is kept; "
    )
    assert certificate.objective == pytest.approx(objective_value(model, X, y), rel=1e-9)


def test_the_bound_of_the_step_that_is_kept_holds() -> None:
    X, y, X2, y2 = overfitting()
    solver = SGD(learning_rate=0.3, batch_size=10, n_epochs=100)
    model = LogisticRegression(l2=0.5, solver=solver).fit(X, y, eval_set=(X2, y2))
    least = LogisticRegression(l2=0.5, tol=1e-13).fit(X, y).certificate_.objective
    assert model.certificate_.status is Status.BUDGET
    assert 0 < model.certificate_.objective - least <= model.certificate_.bound < model.certificate_.objective / 2


def test_a_certified_answer_is_kept_whatever_the_validation_set_says() -> None:
    X, y, X2, y2 = overfitting()
    model = LogisticRegression(l2=1e-3).fit(X, y, eval_set=(X2, y2))
    losses = [step.log_loss for step in model.eval_history_]
    assert model.certificate_.status is Status.CERTIFIED
    assert np.argmin(losses) < len(losses) - 1
    assert np.array_equal(coefficients(model), coefficients(LogisticRegression(l2=1e-3).fit(X, y)))


def test_a_budget_that_is_spent_leaves_the_best_step() -> None:
    X, y, X2, y2 = overfitting()
    solver = SGD(learning_rate=0.3, batch_size=10, n_epochs=100)
    whole = LogisticRegression(l2=0.0, solver=solver).fit(X, y, eval_set=(X2, y2))
    best = int(np.argmin([step.log_loss for step in whole.eval_history_]))
    short = LogisticRegression(l2=0.0, solver=solver, max_iter=best + 3)
    message = rf"^not certified: the budget of {best + 3} passes is spent; the best step on eval_set, after {best + 1} "
    with pytest.warns(ConvergenceWarning, match=message):
        short.fit(X, y, eval_set=(X2, y2))
    assert np.array_equal(coefficients(short), coefficients(whole))


EVAL_SETS: dict[str, tuple[Any, str]] = {
    "a list": (
        [np.zeros((2, 3)), [0, 1]],
        r"^eval_set: expected a tuple, \(X, y\) or \(X, y, sample_weight\); give",
    ),
    "one part": ((np.zeros((2, 3)),), r"^eval_set: expected a tuple, "),
    "columns": (
        (np.zeros((2, 4)), [0, 1]),
        r"^X has 4 features, but LogisticRegression is expecting 3 features as",
    ),
    "rows": ((np.zeros((2, 3)), [0, 1, 1]), r"^Found input variables with inconsistent numbers of samples: \[2, 3\]"),
    "classes": ((np.zeros((3, 3)), [0, 1, 2]), r"^y holds 2 at row 2; expected one of the classes of the fit, 0, 1$"),
    "missing": ((np.full((2, 3), np.nan), [0, 1]), r"^Input X contains NaN\."),
    "weights": ((np.zeros((2, 3)), [0, 1], [1.0, -1.0]), r"^Negative values in data passed to `sample_weight`"),
}


@pytest.mark.parametrize("name", EVAL_SETS)
def test_a_validation_set_that_cannot_be_used_is_refused(name: str) -> None:
    eval_set, message = EVAL_SETS[name]
    with pytest.raises(ValueError, match=message):
        LogisticRegression().fit(*rows(), eval_set=eval_set)


def test_labels_of_one_class_and_probabilities_validate_too() -> None:
    X, y, X2, _ = halves()
    text = np.array(["no", "yes"])[y]
    model = LogisticRegression().fit(X, text, eval_set=(X2, ["yes"] * len(X2)))
    assert model.eval_history_[-1].log_loss == pytest.approx(-np.log(model.predict_proba(X2)[:, 1]).mean(), rel=1e-12)
    share = np.linspace(0.1, 0.9, len(X2))
    soft = LogisticRegression().fit(X, y, eval_set=(X2, share)).eval_history_[-1].log_loss
    p = LogisticRegression().fit(X, y).predict_proba(X2)
    assert soft == pytest.approx(-((1 - share) * np.log(p[:, 0]) + share * np.log(p[:, 1])).mean(), rel=1e-12)


# Warm starts


@example(3, 1.0, True)  # a start that is worse than none, from which steps this long end worse still
@examples(20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-3, 1.0, 1e3, 1e8, 1e200, 1e308]), st.booleans())
def test_a_warm_start_never_ends_worse_than_it_began(seed: int, size: float, sgd: bool) -> None:
    """From the optimum itself, from near it, and from where no float is large enough."""
    X, y = rows(n=60, seed=seed % 50)
    solver: Any = SGD(learning_rate=5.0, n_epochs=2) if sgd else "auto"
    model = LogisticRegression(solver=solver, warm_start=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
        exact = LogisticRegression(tol=1e-14).fit(X, y)
        noise = np.random.default_rng(seed).standard_normal(exact.coef_.shape)
        with np.errstate(all="ignore"):
            model.coef_, model.intercept_ = exact.coef_ + size * noise, exact.intercept_ + size
            before = objective_value(model, X, y)
        model.fit(X, y)
    after = objective_value(model, X, y)
    empty = len(X) * np.log(2)
    assert not after > before * (1 + 1e-12)
    assert sgd or after <= empty
    assert model.certificate_.objective == pytest.approx(after, rel=1e-9)
    assert sgd or model.certificate_.status is Status.CERTIFIED


@pytest.mark.parametrize("n_classes", [2, 3])
def test_stochastic_gradients_that_lead_away_leave_the_start(n_classes: int) -> None:
    X, y = rows(n_classes)
    model = LogisticRegression(warm_start=True, tol=1e-12).fit(X, y)
    before, least = coefficients(model), model.certificate_.objective
    model.set_params(solver=SGD(learning_rate=50.0, batch_size=1, n_epochs=2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    np.testing.assert_allclose(coefficients(model), before, atol=1e-12)
    assert model.certificate_.objective == pytest.approx(least, rel=1e-12)
    assert model.certificate_.bound >= 0


def test_a_start_outside_the_bounds_is_brought_within() -> None:
    X, y = rows()
    model = LogisticRegression(warm_start=True).fit(X, y)
    model.set_params(bounds=(0, None)).fit(X, y)
    assert (model.coef_ >= 0).all()
    assert model.certificate_.status is Status.CERTIFIED


def test_bounds_move_with_the_objective() -> None:
    x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]).double(), torch.tensor([[0.0], [1.0], [0.0], [1.0]]).double()
    objective = Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet(l2=1.0))

    def at(coef: float) -> Params:
        return Params(torch.tensor([[coef]]).double(), torch.tensor([-0.5]).double())

    here = at(1.0)
    value = value_at(objective, here)
    for bound, other in ((0.5, 0.9), (0.5, 3.0), (1e-3, 0.5)):
        moved = certificate_at(objective, at(other), FitResult(here, Certificate(Status.BUDGET, value, bound), ()))
        assert moved.objective == value_at(objective, at(other))
        assert moved.bound is not None
        assert 0 <= moved.bound - max(0.0, bound + moved.objective - value) < 1e-12
    none = certificate_at(objective, at(0.9), FitResult(here, Certificate(Status.BUDGET, value, None), ()))
    assert none.bound is None
    far = objective.params(torch.tensor([[1e15], [-1e15]]).double())  # rounding moves F there, and with it the bound
    assert certificate_at(objective, far, FitResult(far, Certificate(Status.BUDGET, 0.0, 0.0), ())).bound > 0.1


# Callbacks

needs_callbacks = pytest.mark.skipif(not hasattr(LogisticRegression, "set_callbacks"), reason="scikit-learn before 1.9")


class Recorder:
    """A callback that writes down what it is told; it asks for the end after so many steps."""

    def __init__(self, most: float = np.inf) -> None:
        self.most, self.told, self.losses = most, list[str](), list[float]()

    def setup(self, estimator: Any, context: Any) -> None:
        self.told.append("setup")

    def teardown(self, estimator: Any, context: Any) -> None:
        self.told.append("teardown")

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        self.told.append(f"begin {context.task_name}")

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, X: Any, y: Any, fitted_estimator: Any, metadata: Any
    ) -> bool:
        self.told.append(f"end {context.task_name}")
        if fitted_estimator is not None:
            self.losses.append(log_loss(y, fitted_estimator.predict_proba(X), **(metadata or {})))
        return self.told.count("end step") >= self.most


@needs_callbacks
def test_callbacks_are_told_of_every_step() -> None:
    X, y = rows(3)
    recorder, weight = Recorder(), np.linspace(0, 2, len(X))
    model = LogisticRegression().set_callbacks(recorder).fit(X, y, sample_weight=weight)
    steps = len(model.history_)
    expected = ["setup", "begin fit", *["begin step", "end step"] * (steps + 1), "end fit", "teardown"]
    assert recorder.told == expected
    assert len(recorder.losses) == steps + 1
    assert recorder.losses[-1] == log_loss(y, model.predict_proba(X), sample_weight=weight)
    assert np.array_equal(coefficients(model), coefficients(LogisticRegression().fit(X, y, sample_weight=weight)))


@needs_callbacks
def test_a_callback_may_end_a_fit() -> None:
    X, y = rows(n=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LogisticRegression().set_callbacks(Recorder(most=1)).fit(X, y)
    assert len(model.history_) == 1
    assert model.certificate_.status is Status.BUDGET
    assert model.certificate_.message.startswith("stopped by a callback; ")


@needs_callbacks
def test_callbacks_are_put_away_where_a_fit_fails() -> None:
    X, y = rows()
    recorder = Recorder()
    model = LogisticRegression(solver="nothing").set_callbacks(recorder)
    with pytest.raises(InputError):
        model.fit(X, y)
    assert recorder.told[-1] == "teardown"
    assert not [name for name in vars(model) if "callback" in name and name != "_skl_callbacks"]


@needs_callbacks
def test_a_scoring_monitor_within_a_pipeline_and_a_search() -> None:
    from sklearn.callback import ScoringMonitor

    X, y = rows()
    monitor = ScoringMonitor(scoring="neg_log_loss")
    pipeline = make_pipeline(StandardScaler(), LogisticRegression().set_callbacks(monitor)).fit(X, y)
    scores = [row["neg_log_loss"] for row in monitor.get_logs().data if row["task_name"] == "step"]
    assert len(scores) == len(pipeline[-1].history_)
    assert scores[-1] == max(scores)
    GridSearchCV(LogisticRegression().set_callbacks(monitor), {"l2": [0.1, 1.0]}, cv=2).fit(X, y)
    assert len({row["parent_task_id_path"] for row in monitor.get_logs().data if row["task_name"] == "step"}) == 5


@needs_callbacks
def test_a_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich", reason="the progress bar needs rich")
    from sklearn.callback import ProgressBar

    X, y = rows()
    LogisticRegression().set_callbacks(ProgressBar()).fit(X, y)
    assert "LogisticRegression" in capsys.readouterr().out
    search = GridSearchCV(LogisticRegression(), {"l2": [1.0]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, y)
    assert "GridSearchCV" in capsys.readouterr().out


def test_before_scikit_learn_has_callbacks_there_are_none() -> None:
    """What stands in for them is empty, and the method the one that was given."""
    assert not [name for name in vars(callbacks.NoCallbackSupport) if not name.startswith("__")]

    def method() -> int:
        return 1

    assert callbacks.without_callbacks(method) is method
    assert not callbacks.Tasks.needed(LogisticRegression())
