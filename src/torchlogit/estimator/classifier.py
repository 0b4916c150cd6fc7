"""LogisticRegression: scikit-learn's face of objective, solver and fit."""

from __future__ import annotations

import sys
import warnings
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from torchlogit.data.targets import Targets, labels, probabilities
from torchlogit.errors import InputError
from torchlogit.estimator.explanation import explain
from torchlogit.estimator.partial import Learner, Learning, fit_in_one_pass, partial_fit, reads_once
from torchlogit.estimator.problem import (
    Features,
    by_column,
    canonical,
    center_of,
    centered,
    objective_of,
    refuse_weightless,
    seed_of,
    training_data,
    without_torch,
)
from torchlogit.estimator.progress import Progress
from torchlogit.fit import Goal, Watcher, fit
from torchlogit.inference import CLOSE, covariance
from torchlogit.model import probabilities as probabilities_of
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Params, Status
from torchlogit.solvers import Solver
from torchlogit.solvers.choice import BY_NAME

Array = NDArray[np.float64]
NAMES = (*BY_NAME, "streaming")
Bounds = tuple[ArrayLike | None, ArrayLike | None]


class LogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression, softmax for more than two classes, with nothing to tune and a certificate.

    Minimises F(W, b) = sum_i s_i loss(x_i W + b, y_i) + l1 |W|_1 + l2 / 2 |W|^2; the intercept is not penalised, X is
    taken as it is, and l2 = 1 / C of scikit-learn's LogisticRegression (0 and no l1: plain maximum likelihood).
    X may be sparse, of scipy or torch and of any format, on the CPU: rows in CSR form are not copied.

    penalty_factors: (n_features,) multiples of l1 and l2 by column, 0 for none. bounds: (lower, upper) of the
    coefficients, each a number, an array (n_features,) or None; (0, None) for none negative. device: "auto" (the CPU),
    or a torch device to compute on.

    solver: "newton" (StochasticNewton), "dual" (dual ascent), "auto" (of these two the faster one on such data),
    "streaming" (one pass over the rows in their order, without a proof), "sgd" (SGD's defaults), or a solver. tol: stop
    once F is proven to be within tol of its minimum, relative to it. max_iter: passes over the rows. time_budget:
    seconds. class_weight: None, "balanced" or a dict. random_state: seeds the solver's samples. verbose: 1 shows
    progress on standard error.

    After fit: coef_ (1 or n_classes, n_features), intercept_, classes_, n_features_in_, n_iter_ (passes),
    certificate_ (.status .bound .relative_bound .standard_errors .message), history_, covariance_ (or why none),
    solver_ (the solver that was used).

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
        l2: float = 1.0,
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
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
    ) -> Self:
        """The fitted estimator.

        X (n, n_features). y (n,) labels of any type; or probabilities, where all values lie in [0, 1] and some strictly
        between (classes_ = [0, 1]); or (n, n_classes) floats whose rows sum to 1. sample_weight (n,) not negative.
        offset (n,), or (n, n_classes) for more than two: a fixed addition to every row's raw prediction, in fit alone.
        """
        features, given = self._read(X, y)
        weight: Array = np.broadcast_to(1.0, features.shape[0])
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, features, dtype=np.float64, ensure_non_negative=True)
        targets, weight = given.class_weighted(weight, self.class_weight)
        self._learning: Learning | None = None
        if reads_once(self.solver):
            fit_in_one_pass(self, features, targets, weight, offset)
            return self
        refuse_weightless(targets, weight)
        penalty, device = self._penalty(features.shape[1]), self._device()
        objective = objective_of(features, targets, weight, offset, penalty, self.fit_intercept, device)
        center = center_of(objective, features)
        if center.any():
            moved = centered(features, center)
            objective = objective_of(moved, targets, weight, offset, penalty, self.fit_intercept, device)
        start = self._start(targets.classes, center)
        solver = self._solver(objective)
        self.solver_: Solver | Learner = solver
        result = fit(objective, solver, self._goal(), start=start, watchers=self._watchers(objective))
        if self.verbose:
            print(file=sys.stderr)
        self.classes_ = targets.classes
        self.coef_ = result.params.coef.T.cpu().numpy().copy()
        self.intercept_ = result.params.intercept.cpu().numpy() - self.coef_ @ center
        self._center = center
        self.n_iter_ = result.passes
        self.certificate_ = result.certificate
        self.history_ = result.history
        self.covariance_ = covariance(objective, result.params, result.certificate)
        self.training_data_ = training_data(features, targets, weight)
        self._warn_unless_certified(result.certificate)
        return self

    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """The estimator after these rows too: each is read once, in order, and how they were cut up changes nothing.

        After fit, it goes on from the fitted coefficients. classes: all that may ever come; needed before the first
        rows only, and only where these do not hold them all. class_weight="balanced" goes by the rows so far.
        InputError for a label that is none of them, and for l1 or bounds. See docs/streams.md.

        >>> model = LogisticRegression()
        >>> for x, y in (([[0.0], [3.0]], ["no", "yes"]), ([[1.0], [2.0]], ["yes", "no"])):
        ...     model = model.partial_fit(x, y)
        >>> model.predict([[5.0]]).tolist(), str(model.certificate_.status)
        (['yes'], 'uncertifiable')
        """
        partial_fit(self, X, y, classes, sample_weight)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _read(self, X: ArrayLike, y: ArrayLike) -> tuple[Features, Targets]:
        """X and y, checked as scikit-learn does."""
        X, soft = without_torch(X), None if y is None else probabilities(y)
        if soft is not None:
            features = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
            check_consistent_length(features, y)
            return canonical(features), soft
        features, values = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        return canonical(features), labels(values)

    def _penalty(self, n_features: int) -> ElasticNet:
        lower, upper = self.bounds if self.bounds is not None else (None, None)
        factors = by_column("penalty_factors", self.penalty_factors, n_features)
        ends = (by_column(f"bounds, {name}", end, n_features) for name, end in (("lower", lower), ("upper", upper)))
        return ElasticNet(float(self.l1), float(self.l2), factors, *ends)

    def _device(self) -> torch.device:
        try:
            device = torch.device("cpu" if self.device == "auto" else self.device)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"device={self.device!r}: cannot compute there ({reason}); use 'auto' or 'cpu'") from None
        return device

    def decision_function(self, X: ArrayLike) -> Array:
        """The raw prediction X coef' + intercept: (n,) for two classes, (n, n_classes) otherwise."""
        raw = self._raw(X)
        return raw[:, 0] if raw.shape[1] == 1 else raw

    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability of every class, (n, n_classes), in the order of classes_."""
        return probabilities_of(self._raw(X))

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """The logarithm of predict_proba, finite wherever the raw prediction is."""
        raw = self._raw(X)
        raw = np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
        top = raw - raw.max(axis=1, keepdims=True)
        logarithms: Array = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
        return logarithms

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class of every row."""
        raw = self._raw(X)
        codes = (raw[:, 0] > 0).astype(np.int64) if raw.shape[1] == 1 else raw.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[codes]
        return labels

    def _raw(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        features = validate_data(
            self, without_torch(X), accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=False
        )
        raw: Array = np.asarray(features @ self.coef_.T + self.intercept_, dtype=np.float64)
        return raw

    def _solver(self, objective: Objective) -> Solver:
        if not isinstance(self.solver, str):
            if isinstance(self.solver, type) or not hasattr(self.solver, "iterates"):
                raise InputError(f"solver={self.solver!r}: expected a name or a solver object, such as SGD(...)")
            return self.solver
        if self.solver not in BY_NAME:
            raise InputError(f"solver={self.solver!r}: expected one of {', '.join(NAMES)}, or a solver object")
        return BY_NAME[self.solver](objective, seed_of(self.random_state), self.tol)

    def _goal(self) -> Goal:
        """Without a penalty coefficients are there to be read: then they have to be exact against their errors too."""
        for name in ("tol", "max_iter", "time_budget"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}={value}: expected a positive number")
        free = self.l1 == 0 and self.l2 == 0 and self.bounds is None
        errors = CLOSE if free else None
        return Goal(self.tol, standard_errors=errors, max_iter=self.max_iter, time_budget=self.time_budget)

    def _start(self, classes: NDArray[Any], center: Array) -> Params | None:
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        outputs = 1 if len(classes) == 2 else len(classes)
        if not np.array_equal(classes, self.classes_) or self.coef_.shape != (outputs, len(center)):
            raise InputError("warm_start: the classes or columns are not those of the last fit; use a new estimator")
        return Params(torch.tensor(self.coef_.T), torch.tensor(self.intercept_ + self.coef_ @ center))

    def _watchers(self, objective: Objective) -> tuple[Watcher, ...]:
        return (Progress(objective.total_weight),) if self.verbose else ()

    def _warn_unless_certified(self, certificate: Certificate) -> None:
        if certificate.status is not Status.CERTIFIED:
            names = list(getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)]))
            outputs = list(self.classes_ if len(self.coef_) > 1 else self.classes_[1:])
            warnings.warn(explain(certificate, names, outputs), ConvergenceWarning, stacklevel=3)
