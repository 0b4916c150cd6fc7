"""LogisticRegression: training as a scikit-learn classifier."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from torchlogit.errors import InputError
from torchlogit.estimator.callbacks import CallbackSupportMixin, Tasks, with_callbacks
from torchlogit.estimator.inputs import NO_TARGET, Given, as_array, read, validated
from torchlogit.estimator.rows import EvalSet, further_rows, training_rows, validation_rows
from torchlogit.estimator.torch_modules import fitted_from_linear
from torchlogit.model import as_linear
from torchlogit.path import L2Choice
from torchlogit.prediction import likeliest, log_probabilities, probabilities, probability_of, raw_prediction
from torchlogit.records import Certificate, Params, Status
from torchlogit.solvers import Solver
from torchlogit.summary import summary
from torchlogit.training.explanation import explain
from torchlogit.training.fitted import Fitted, StartingPoint
from torchlogit.training.one_pass import train_further
from torchlogit.training.rows import Features, LabelledRows
from torchlogit.training.settings import Bounds, Settings
from torchlogit.training.to_model import to_model
from torchlogit.training.train import train

Array = NDArray[np.float64]
OPTIONAL = ("training_data_", "solver_", "path_", "chosen_by_", "eval_history_", "progressive_", "expected_excess_")
"""The attributes that not every fit has."""


def _can_learn_in_one_pass(model: Any) -> bool:
    """Whether there is a partial_fit; the InputError becomes the cause of the AttributeError."""
    if model.l1 or model.bounds is not None:
        raise InputError("l1 or bounds: learning in one pass takes l2 alone; set l1=0 and no bounds, or use fit")
    return True


class LogisticRegression(CallbackSupportMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression, softmax for more than two classes, with nothing to tune and a certificate.

    Minimises F(W, b) = sum_i s_i loss(x_i W + b, y_i) + l1 |W|_1 + l2 / 2 |W|^2; the intercept is not penalised, X is
    taken as it is, and l2 = 1 / C of scikit-learn's LogisticRegression (0 and no l1: plain maximum likelihood; "auto":
    the one that should predict best, by approximate leave-one-out or by folds, see L2Choice and docs/penalty.md).
    X may be an array, a pandas, polars or Arrow table of numbers, a tensor, a Dataset or DataLoader of torch, a Hugging
    Face data set, the path of a file (docs/estimator.md); or sparse, of scipy or torch and of any format, on the CPU:
    rows in CSR form are not copied.

    penalty_factors: (n_features,) multiples of l1 and l2 by column, 0 for none. bounds: (lower, upper) of the
    coefficients, each a number, an array (n_features,) or None; (0, None) for none negative. device: "auto" (that of X
    where it is a tensor, else the CPU), or a torch device to compute on.

    solver: "newton" (StochasticNewton), "dual" (dual ascent), "auto" (of these two the faster one on such data),
    "streaming" (one pass over the rows in their order, without a proof), "sgd" (SGD's defaults), or a solver. tol: stop
    once F is proven to be within tol of its minimum, relative to it. max_iter: passes over the rows. time_budget:
    seconds. class_weight: None, "balanced" or a dict. warm_start: a fit begins where the last one ended, and ends no
    worse. random_state: seeds the solver's samples. verbose: 1 shows progress on standard error.

    After fit: coef_ (1 or n_classes, n_features), intercept_, classes_, n_features_in_, n_iter_ (passes),
    certificate_ (.status .bound .relative_bound .standard_errors .message), history_, eval_history_ (with an eval_set),
    covariance_ (or why none), solver_ (the solver that was used), l2_ (the l2 that was used), path_ (where it was
    chosen: all that were tried).

    Raises ValueError for X or y that cannot be used; warns (ConvergenceWarning) where the answer is not certified.

    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"]
    >>> model = LogisticRegression().fit(X, y)
    >>> model.predict([[5.0]]).tolist(), str(model.certificate_.status)
    (['yes'], 'certified')
    """

    def __init__(
        self,
        *,
        l1: float = 0.0,
        l2: float | Literal["auto"] | L2Choice = 1.0,
        fit_intercept: bool = True,
        solver: Literal["auto", "newton", "dual", "streaming", "sgd"] | Solver = "auto",
        tol: float = 1e-6,
        max_iter: float = 200,
        time_budget: float | None = None,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        warm_start: bool = False,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        penalty_factors: ArrayLike | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self.l1 = l1
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.time_budget = time_budget
        self.class_weight = class_weight
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose
        self.penalty_factors = penalty_factors
        self.bounds = bounds

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
        eval_set: EvalSet | None = None,
    ) -> Self:
        """The fitted estimator.

        X (n, n_features). y (n,) labels of any type; or probabilities, where all values lie in [0, 1] and some strictly
        between (classes_ = [0, 1]); or (n, n_classes) floats whose rows sum to 1; or the name of a column, where X has
        named ones; None where X is a Dataset or DataLoader of (x, y). sample_weight (n,) not negative. offset (n,), or
        (n, n_classes) for more than two: a fixed addition to every row's raw prediction, in fit alone.

        eval_set: (X, y) or (X, y, sample_weight), other rows. Their mean log loss after every step is in eval_history_,
        a list with .passes, .seconds and .log_loss. A fit that is not certified yet ends once that has not improved for
        five steps, and one that ends without a certificate is left at the best of its steps (docs/estimator.md). With
        l2="auto" these rows choose l2, unless an L2Choice names others or another way.
        """
        if not self._fit(X, y, sample_weight, offset, eval_set):
            self._warn_unless_certified(self.certificate_)
        return self

    @with_callbacks
    def _fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, offset: ArrayLike | None, eval_set: EvalSet | None
    ) -> bool:
        """Fits; whether it ended as it was asked to: after one pass, or early, by eval_set or a callback."""
        settings = self._settings()
        rows = training_rows(self, read(X, y), sample_weight, offset, self.class_weight)
        if settings.one_pass:
            self._remember(train(settings, rows))
            return True
        start = self._warm_start(rows)
        validation = None if eval_set is None else validation_rows(self, eval_set, rows.classes)
        own_set = getattr(self.l2, "eval_set", None)  # of an L2Choice
        chooses = validation if own_set is None else validation_rows(self, own_set, rows.classes)
        tasks = None
        if Tasks.needed(self):
            metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
            tasks = Tasks(self, X, y, metadata, lambda params: _predicting(params, rows.classes))
        monitors = [] if tasks is None else [tasks]
        fitted = train(settings, rows, start=start, validation=validation, choose_l2_by=chooses, monitors=monitors)
        self._remember(fitted if tasks is None else tasks.explained(fitted))
        if tasks is not None:
            tasks.end()
        asked = fitted.stopped_early or (tasks is not None and tasks.asked)
        return asked and self.certificate_.status is Status.BUDGET

    def _settings(self) -> Settings:
        return Settings(
            l1=self.l1,
            l2=self.l2,
            fit_intercept=bool(self.fit_intercept),
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            time_budget=self.time_budget,
            class_weight=self.class_weight,
            penalty_factors=self.penalty_factors,
            bounds=self.bounds,
            device=self.device,
            seed=_seed(self.random_state),
            verbose=bool(self.verbose),
        )

    def _remember(self, fitted: Fitted) -> None:
        """Sets the attributes of a fitted estimator: all of them, here alone."""
        self._fitted, self._stream = fitted, fitted.stream
        self.coef_, self.intercept_, self.classes_ = fitted.coef.T.copy(), fitted.intercept, fitted.classes
        self.certificate_, self.history_, self.n_iter_ = fitted.certificate, fitted.history, fitted.passes
        self.covariance_, self.l2_ = fitted.covariance, fitted.penalty.l2
        for name in OPTIONAL:
            self.__dict__.pop(name, None)
        if fitted.rows is not None:
            self.training_data_, self.solver_ = fitted.rows, fitted.solver
        if fitted.path is not None:
            self.path_, self.chosen_by_ = fitted.path, fitted.chosen_by
        if fitted.validation_history is not None:
            self.eval_history_ = fitted.validation_history
        if fitted.progressive is not None:
            self.progressive_, self.expected_excess_ = fitted.progressive, fitted.expected_excess

    def _as_fitted(self) -> Fitted:
        """The outcome of the fit, with the coefficients as they are now: users may have set others."""
        check_is_fitted(self)
        coef = np.ascontiguousarray(self.coef_.T)
        return replace(self._fitted, coef=coef, intercept=self.intercept_, classes=self.classes_)

    def _starting_point(self) -> StartingPoint | None:
        """The model so far, for a fit to begin from."""
        if not hasattr(self, "coef_"):
            return None
        weight = getattr(self, "training_data_", {}).get("weight")
        stream, l2 = getattr(self, "_stream", None), getattr(self, "l2_", None)
        return StartingPoint(self.coef_.T, self.intercept_, self.classes_, weight, l2, stream)

    def _warm_start(self, rows: LabelledRows) -> StartingPoint | None:
        """The last answer, where fits are to begin there; InputError where it is of other classes or columns."""
        start = self._starting_point()
        if not self.warm_start or start is None:
            return None
        outputs = 1 if len(rows.classes) == 2 else len(rows.classes)
        if not np.array_equal(rows.classes, start.classes) or start.coef.shape != (rows.n_features, outputs):
            raise InputError("warm_start: the classes or columns are not those of the last fit; use a new estimator")
        return start

    def _column_names(self) -> list[str]:
        return list(getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)]))

    @classmethod
    def from_torch(cls, linear: torch.nn.Linear, classes: ArrayLike | None = None) -> Self:
        """An estimator that predicts what a torch.nn.Linear does; not certified, but a start for `fit` (warm_start).

        classes: of its outputs in their order, 0, 1, ... by default; of one output, the logit: the other class first.

        >>> model = LogisticRegression.from_torch(torch.nn.Linear(3, 1), classes=["no", "yes"])
        >>> model = model.set_params(warm_start=True)  # and fit goes on from the Linear
        """
        fitted = fitted_from_linear(linear, classes)
        model = cls(fit_intercept=fitted.has_intercept)
        model.n_features_in_ = len(fitted.coef)
        model._remember(fitted)
        return model

    def to_torch(self, dtype: torch.dtype | None = None) -> torch.nn.Linear:
        """A torch.nn.Linear from X to the raw prediction: see `LogisticModel.to_torch`."""
        check_is_fitted(self)
        return as_linear(self.coef_.T, self.intercept_, dtype)

    def summary(self) -> str:
        """The fit in words: penalty, solver, objective, status and bound; a line for every coefficient, up to 500.

        A line has the coefficient per unit of its column, the odds ratio e^coefficient and, where they are valid, the
        standard error, z and p; otherwise it is said why there are none. InputError where there are no data to tell of.

        >>> print(LogisticRegression(l2=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]).summary().splitlines()[2])
        penalty      l1 = 0, l2 = 0
        """
        return summary(to_model(self._as_fitted(), feature_names=self._column_names()), elsewhere="coef_ holds")

    def save(self, path: str | Path) -> None:
        """Writes the model file that torchlogit.load reads, without an encoder; torchlogit.save takes a pipeline, too.

        Raises InputError for classes that are no text, numbers or truths, and for numbers that are not finite.
        """
        to_model(self._as_fitted(), feature_names=self._column_names()).save(path)

    @available_if(_can_learn_in_one_pass)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any = None, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """The estimator after these rows too: each is read once, in order, and how they were cut up changes nothing.

        After fit, it goes on from the fitted coefficients. classes: all that may ever come; needed before the first
        rows only, and only where these do not hold them all. class_weight="balanced" goes by the rows so far.
        InputError for a label that is none of them; with l1 or bounds there is no such method. See docs/streams.md.

        >>> model = LogisticRegression()
        >>> for x, y in (([[0.0], [3.0]], ["no", "yes"]), ([[1.0], [2.0]], ["yes", "no"])):
        ...     model = model.partial_fit(x, y)
        >>> model.predict([[5.0]]).tolist(), str(model.certificate_.status)
        (['yes'], 'uncertifiable')
        """
        rows = further_rows(self, X, y, classes, sample_weight)
        self._remember(train_further(self._settings(), rows, self._starting_point()))
        return self

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def decision_function(self, X: Any) -> Any:
        """The raw prediction X coef' + intercept: (n,) for two classes, (n, n_classes) otherwise.

        This and all other predictions are arrays, or tensors on X's device where X is a tensor.
        """
        given = self._given(X)
        raw = self._raw(given)
        return given.answer(raw[:, 0] if raw.shape[1] == 1 else raw)

    def predict_proba(self, X: Any) -> Any:
        """The probability of every class, (n, n_classes), in the order of classes_."""
        given = self._given(X)
        features = validated(self, given, reset=False)
        if isinstance(features, torch.Tensor):
            return given.answer(probabilities(self._raw_of(features)))
        return given.answer(probability_of(features, self.coef_.T, self.intercept_))

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithm of predict_proba, finite wherever the raw prediction is."""
        given = self._given(X)
        return given.answer(log_probabilities(self._raw(given)))

    def predict(self, X: Any) -> Any:
        """The likeliest class of every row; an array, where classes are no numbers."""
        given = self._given(X)
        return given.answer(self._likeliest(given))

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """The share of rows whose class is the likeliest one, weighted; X and y as in `fit`."""
        given = self._given(X, y)
        return float(accuracy_score(given.y, self._likeliest(given), sample_weight=as_array(sample_weight)))

    def _given(self, X: Any, y: Any = NO_TARGET) -> Given:
        check_is_fitted(self)
        return read(X, y, tuple(getattr(self, "feature_names_in_", ())))

    def _likeliest(self, given: Given) -> NDArray[Any]:
        labels: NDArray[Any] = self.classes_[likeliest(self._raw(given))]
        return labels

    def _raw(self, given: Given) -> Array:
        return self._raw_of(validated(self, given, reset=False))

    def _raw_of(self, features: Features) -> Array:
        if isinstance(features, torch.Tensor):
            coef = torch.from_numpy(self.coef_.T).to(features.device)
            intercept = torch.from_numpy(self.intercept_).to(features.device)
            tensor: Array = (features.to(torch.float64) @ coef + intercept).cpu().numpy()
            return tensor
        return raw_prediction(features, self.coef_.T, self.intercept_)

    def _warn_unless_certified(self, certificate: Certificate) -> None:
        if certificate.status is not Status.CERTIFIED:
            outputs = list(self.classes_ if len(self.coef_) > 1 else self.classes_[1:])
            warnings.warn(explain(certificate, self._column_names(), outputs), ConvergenceWarning, stacklevel=3)


def _predicting(params: Params, classes: NDArray[Any]) -> dict[str, Any]:
    """The attributes that an estimator needs to predict."""
    return {"coef_": params.coef.T.numpy().copy(), "intercept_": params.intercept.numpy(), "classes_": classes}


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """A whole number is the seed itself, so that 0, the default, gives what the command line gives."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return int(random_state or 0)
    return int(check_random_state(random_state).randint(2**31))
