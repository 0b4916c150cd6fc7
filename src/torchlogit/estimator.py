"""LogisticRegression: scikit-learn's face of objective, solver and fit."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import scipy.sparse
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import Tags, check_consistent_length, check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from torchlogit.data.encoder import TableEncoder
from torchlogit.data.targets import Targets, labels, probabilities
from torchlogit.design import Dense, DesignMatrix, Sparse, as_csr
from torchlogit.errors import InputError
from torchlogit.fit import Goal, Step, Watcher, fit
from torchlogit.inference import CLOSE, Covariance, covariance
from torchlogit.losses import loss_for
from torchlogit.metrics import targets as hard_targets
from torchlogit.model import Facts, Label, LogisticModel, intercept_at
from torchlogit.model import probabilities as probabilities_of
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Params, Separation, Status
from torchlogit.solvers import Solver
from torchlogit.solvers.choice import BY_NAME

Array = NDArray[np.float64]
Features = Any  # a matrix: NDArray, or scipy.sparse.csr_array, columns ascending and none twice
Bounds = tuple[ArrayLike | None, ArrayLike | None]
MOST_NAMED = 12  # columns named in a message
HASHED_ROWS = 10_000  # in a fingerprint: hashing all of X can take longer than the fit


class LogisticRegression(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression, softmax for more than two classes, with nothing to tune and a certificate.

    Minimises F(W, b) = sum_i s_i loss(x_i W + b, y_i) + l1 |W|_1 + l2 / 2 |W|^2; the intercept is not penalised, X is
    taken as it is, and l2 = 1 / C of scikit-learn's LogisticRegression (0 and no l1: plain maximum likelihood).
    X may be sparse, of scipy or torch and of any format, on the CPU: rows in CSR form are not copied.

    penalty_factors: (n_features,) multiples of l1 and l2 by column, 0 for none. bounds: (lower, upper) of the
    coefficients, each a number, an array (n_features,) or None; (0, None) for none negative. device: "auto" (the CPU),
    or a torch device to compute on.

    solver: "newton" (StochasticNewton), "dual" (dual ascent), "auto" (of these two the faster one on such data), "sgd"
    (SGD's defaults), or a solver. tol: stop once F is proven to be within tol of its minimum, relative to it. max_iter:
    passes over the rows. time_budget: seconds. class_weight: None, "balanced" or a dict. random_state: seeds the
    solver's samples. verbose: 1 shows progress on standard error.

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
        solver: Literal["auto", "newton", "dual", "sgd"] | Solver = "auto",
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
        _refuse_weightless(targets, weight)
        penalty, device = self._penalty(features.shape[1]), self._device()
        objective = _objective(features, targets, weight, offset, penalty, self.fit_intercept, device)
        center = _center(objective, features)
        if center.any():
            centered = _centered(features, center)
            objective = _objective(centered, targets, weight, offset, penalty, self.fit_intercept, device)
        start = self._start(targets.classes, center)
        self.solver_ = self._solver(objective)
        result = fit(objective, self.solver_, self._goal(), start=start, watchers=self._watchers(objective))
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
        self.training_data_ = _training_data(features, targets, weight)
        self._warn_unless_certified(result.certificate)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _read(self, X: ArrayLike, y: ArrayLike) -> tuple[Features, Targets]:
        """X and y, checked as scikit-learn does."""
        X, soft = _without_torch(X), None if y is None else probabilities(y)
        if soft is not None:
            features = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
            check_consistent_length(features, y)
            return _canonical(features), soft
        features, values = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        return _canonical(features), labels(values)

    def _penalty(self, n_features: int) -> ElasticNet:
        lower, upper = self.bounds if self.bounds is not None else (None, None)
        factors = _by_column("penalty_factors", self.penalty_factors, n_features)
        ends = (_by_column(f"bounds, {name}", end, n_features) for name, end in (("lower", lower), ("upper", upper)))
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
            self, _without_torch(X), accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=False
        )
        raw: Array = np.asarray(features @ self.coef_.T + self.intercept_, dtype=np.float64)
        return raw

    def _solver(self, objective: Objective) -> Solver:
        if not isinstance(self.solver, str):
            if isinstance(self.solver, type) or not hasattr(self.solver, "iterates"):
                raise InputError(f"solver={self.solver!r}: expected a name or a solver object, such as SGD(...)")
            return self.solver
        if self.solver not in BY_NAME:
            raise InputError(f"solver={self.solver!r}: expected one of {', '.join(BY_NAME)}, or a solver object")
        return BY_NAME[self.solver](objective, _seed(self.random_state), self.tol)

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
        return (_Progress(objective.total_weight),) if self.verbose else ()

    def _warn_unless_certified(self, certificate: Certificate) -> None:
        if certificate.status is not Status.CERTIFIED:
            names = list(getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)]))
            outputs = list(self.classes_ if len(self.coef_) > 1 else self.classes_[1:])
            warnings.warn(explain(certificate, names, outputs), ConvergenceWarning, stacklevel=3)


def explain(certificate: Certificate, names: Sequence[str], outputs: Sequence[object]) -> str:
    """What a certificate that is none means, and one next step: for a warning or a report.

    >>> explain(Certificate(Status.BUDGET, 1.0, None, "the budget of 3 passes is spent; no bound yet"), [], [])
    'not certified: the budget of 3 passes is spent; no bound yet. Give it more passes (max_iter) or time'
    """
    if certificate.separation is not None:
        shown = _columns_that_separate(certificate.separation, names, outputs)
        whole = "perfectly" if certificate.separation.complete else "for some of the rows"
        return (
            f"separated: the classes can be told apart {whole} by {shown}, so that no finite coefficients fit best: "
            f"the values shown are where fitting stopped, and mean nothing for these columns. "
            f"Use a penalty (l2 > 0), or leave these columns out"
        )
    if certificate.status is Status.DIVERGED:
        return f"diverged: {certificate.message}"
    remedy = {
        Status.BUDGET: "Give it more passes (max_iter) or time",
        Status.UNCERTIFIABLE: "A larger tol, or a small penalty (l2 > 0) where columns are nearly collinear, helps",
    }[certificate.status]
    return f"not certified: {certificate.message}. {remedy}"


def _columns_that_separate(separation: Separation, names: Sequence[str], outputs: Sequence[object]) -> str:
    """The columns and the signs in which their coefficients run off: "x (+)", or "x (a +, b -)" for several classes."""
    signs: dict[int, list[str]] = {}
    for feature, output, sign in separation.directions:
        label = f"{outputs[output]} " if len(outputs) > 1 else ""
        signs.setdefault(feature, []).append(label + ("+" if sign > 0 else "-"))
    columns = [f"{names[feature]} ({', '.join(found)})" for feature, found in signs.items()]
    more = f" and {len(columns) - MOST_NAMED} more" if len(columns) > MOST_NAMED else ""
    return (", ".join(columns[:MOST_NAMED]) + more) or "the intercept"


def save(fitted: LogisticRegression | Pipeline, path: str | Path, *, target: str | None = None) -> None:
    """Writes a fitted LogisticRegression, or a Pipeline of a TableEncoder and one, as a model file."""
    to_model(fitted, target=target).save(path)


def to_model(fitted: LogisticRegression | Pipeline, *, target: str | None = None) -> LogisticModel:
    """The model that a fitted LogisticRegression, or a Pipeline of a TableEncoder and one, has learned."""
    encoder, classifier = _parts(fitted)
    check_is_fitted(classifier)
    names = (
        encoder.get_feature_names_out()
        if encoder is not None
        else getattr(classifier, "feature_names_in_", [f"x{j}" for j in range(classifier.n_features_in_)])
    )
    return LogisticModel(
        coef=classifier.coef_.T.copy(),
        intercept=classifier.intercept_.copy(),
        classes=tuple(_plain(label) for label in classifier.classes_),
        feature_names=tuple(str(name) for name in names),
        encoder=encoder,
        facts=_facts(encoder, classifier, target),
    )


def _parts(fitted: LogisticRegression | Pipeline) -> tuple[TableEncoder | None, LogisticRegression]:
    if isinstance(fitted, LogisticRegression):
        return None, fitted
    steps = [step for _, step in fitted.steps] if isinstance(fitted, Pipeline) else []
    if len(steps) == 2 and isinstance(steps[0], TableEncoder) and isinstance(steps[1], LogisticRegression):
        return steps[0], steps[1]
    raise InputError(
        f"{type(fitted).__name__}: expected a LogisticRegression, or a Pipeline of a TableEncoder and one; "
        "save other pipelines with their own library"
    )


def _facts(encoder: TableEncoder | None, classifier: LogisticRegression, target: str | None) -> Facts:
    certificate: Certificate = classifier.certificate_
    separation = certificate.separation
    return Facts(
        target=target,
        penalty=_penalty_facts(classifier),
        solver={"name": type(classifier.solver_).__name__, "passes": classifier.n_iter_, "tol": classifier.tol},
        certificate={
            "status": str(certificate.status),
            "objective": certificate.objective,
            "bound": certificate.bound,
            "relative_bound": certificate.relative_bound,
            "standard_errors": certificate.standard_errors,
            "message": certificate.message,
            "separation": None
            if separation is None
            else {"complete": separation.complete, "directions": [list(place) for place in separation.directions]},
        },
        training_data=classifier.training_data_,
        standard_errors=_standard_errors(encoder, classifier),
        versions={name: version(name) for name in ("torchlogit", "torch", "numpy", "scikit-learn", "pyarrow")},
    )


def _penalty_facts(classifier: LogisticRegression) -> dict[str, Any]:
    """The strengths, and by column, where they were given, the factors and the bounds (None: no bound)."""
    penalty = classifier._penalty(classifier.n_features_in_)
    facts: dict[str, Any] = {"l1": penalty.l1, "l2": penalty.l2}
    for name in ("factors", "lower", "upper"):
        values = getattr(penalty, name)
        if values is not None:
            facts[name] = [value if np.isfinite(value) else None for value in values.tolist()]
    return facts


def _standard_errors(encoder: TableEncoder | None, classifier: LogisticRegression) -> dict[str, Any]:
    """Of the coefficients as they are, and of the intercept where the table is zero, as lists; or the reason."""
    known = classifier.covariance_
    if not isinstance(known, Covariance):
        return {"reason": known.reason}
    p = classifier.n_features_in_ + int(classifier.fit_intercept)
    rows = torch.eye(p, dtype=torch.float64)
    if classifier.fit_intercept:
        zero = np.zeros(classifier.n_features_in_) if encoder is None else intercept_at(encoder)
        rows[-1, :-1] = torch.from_numpy(zero - classifier._center)
    errors = known.errors_of(rows)
    listed = [[None if np.isnan(value) else value for value in row] for row in errors.tolist()]
    if not classifier.fit_intercept:
        return {"coef": listed, "intercept": [None] * errors.shape[1]}
    return {"coef": listed[:-1], "intercept": listed[-1]}


def _without_torch(X: Any) -> Any:
    """X, as a matrix of scipy where it is a sparse tensor, which scikit-learn does not know."""
    return as_csr(X) if isinstance(X, torch.Tensor) and X.layout != torch.strided else X


def _canonical(X: Any) -> Features:
    return as_csr(X) if scipy.sparse.issparse(X) else X


def _design(X: Features, intercept: bool, device: torch.device) -> DesignMatrix:
    if not scipy.sparse.issparse(X):
        return Dense.of(_tensor(X).to(device), intercept=intercept)
    if device.type != "cpu":
        raise InputError(f"device={str(device)!r}: X is sparse, which only the CPU takes; use 'auto', or X.toarray()")
    return Sparse.of(X, intercept=intercept)


def _objective(
    X: Features,
    targets: Targets,
    weight: Array,
    offset: ArrayLike | None,
    penalty: ElasticNet,
    intercept: bool,
    device: torch.device,
) -> Objective:
    loss = loss_for(len(targets.classes))
    if targets.codes is not None:
        target = hard_targets(loss, torch.from_numpy(targets.codes))
    else:
        assert targets.share is not None
        target = torch.from_numpy(targets.share[:, 1:] if loss.n_outputs == 1 else targets.share)
    return Objective.of(
        _design(X, intercept, device),
        target.to(device),
        loss=loss,
        penalty=penalty,
        weight=None if (weight == 1).all() else _tensor(weight),
        offset=None if offset is None else _offset(offset, X.shape[0], loss.n_outputs),
    )


def _offset(offset: ArrayLike, n: int, n_outputs: int) -> torch.Tensor:
    values = np.asarray(offset, dtype=np.float64)
    if values.shape != ((n,) if n_outputs == 1 else (n, n_outputs)):
        wanted = f"({n},)" if n_outputs == 1 else f"({n}, {n_outputs})"
        raise InputError(f"offset has shape {values.shape}: expected {wanted}, a number for each row and output")
    return torch.from_numpy(np.ascontiguousarray(values.reshape(n, n_outputs)))


def _by_column(name: str, values: ArrayLike | None, n_features: int) -> torch.Tensor | None:
    """One number for each column, from a number for all of them or an array."""
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.ndim > 1 or (array.ndim == 1 and len(array) != n_features):
        raise InputError(f"{name} has shape {array.shape}: expected one number, or {n_features}, one for each column")
    return torch.from_numpy(np.broadcast_to(array, (n_features,)).copy())


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """A whole number is the seed itself, so that 0, the default, gives what the command line gives."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return int(random_state or 0)
    return int(check_random_state(random_state).randint(2**31))


def _center(objective: Objective, X: Features) -> Array:
    """The mean of every column that is more than 1e4 of its spreads away from zero, 0 for all others, (n_features,).

    In a column such as seconds since 1970 the spread is lost among the digits of the offset. The intercept, which is
    free, takes the offset up: F is the same. A sparse column that stores no value for some row stays as it is.
    """
    if not objective.design.has_intercept:
        return np.zeros(objective.design.shape[1])
    sums, squares = (part[:-1] / objective.total_weight for part in objective.moments)
    far = squares - sums.square() < 1e-8 * squares
    center: Array = torch.where(far, sums, torch.zeros_like(sums)).cpu().numpy()
    if scipy.sparse.issparse(X) and center.any():
        center[np.bincount(X.indices, minlength=len(center)) < X.shape[0]] = 0
    return center


def _centered(X: Features, center: Array) -> Features:
    """X - center, which is zero where a sparse X does not store every value."""
    if not scipy.sparse.issparse(X):
        return X - center
    return scipy.sparse.csr_array((X.data - center[X.indices], X.indices, X.indptr), shape=X.shape)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The array as a tensor, not copied; it is only read, so torch need not warn where it is read-only."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _refuse_weightless(targets: Targets, weight: Array) -> None:
    """A class without weight has no finite intercept."""
    by_class = targets.by_class(weight)
    if np.count_nonzero(by_class) < 2:
        raise InputError("y has one class only among the rows of positive sample_weight: expected at least two classes")
    if not by_class.all():
        empty = _plain(targets.classes[int(np.argmin(by_class))])
        raise InputError(f"class {empty!r} has no row of positive sample_weight: leave its rows out, or give it weight")


def _training_data(X: Features, targets: Targets, weight: Array) -> dict[str, Any]:
    """Rows, weight and a fingerprint: SHA-256 of the shape, and of every k-th row, k such that some 10,000 are read."""
    n = X.shape[0]
    some = slice(None, None, max(1, n // HASHED_ROWS))
    rows = X[some]
    digest = hashlib.sha256(str(X.shape).encode())
    features = (rows.indptr, rows.indices, rows.data) if scipy.sparse.issparse(rows) else (rows,)
    others = (part[some] for part in (targets.codes, targets.share, weight) if part is not None)
    for part in (*features, *others):
        digest.update(np.ascontiguousarray(part).data)
    return {"rows": n, "weight": float(weight.sum()), "fingerprint": digest.hexdigest()}


def _plain(label: Any) -> Label:
    value = label.item() if isinstance(label, np.generic) else label
    if not isinstance(value, str | int | float | bool):
        kind = type(value).__name__
        raise InputError(f"class {value!r} is of type {kind}: a model file holds text, numbers and truths as classes")
    return value


class _Progress:
    """A watcher that keeps one line on standard error up to date."""

    def __init__(self, total_weight: float) -> None:
        self.total_weight = total_weight

    def __call__(self, step: Step) -> bool:
        bound = "no bound yet" if step.bound is None else f"proven within {step.bound / self.total_weight:.1e}"
        objective = step.objective / self.total_weight
        line = f"pass {step.passes:.1f}  {step.seconds:.1f} s  objective {objective:.8f}  {bound}"
        print(f"\r{line:<78}", end="", file=sys.stderr, flush=True)
        return False
