"""LogisticRegression: scikit-learn's face of objective, solver and fit."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, check_consistent_length
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from torchlogit.checkpoints import Checkpoints
from torchlogit.data.targets import probabilities
from torchlogit.errors import InputError
from torchlogit.estimator.callbacks import CallbackSupportMixin, Tasks, with_callbacks
from torchlogit.estimator.documentation import DocumentationLink
from torchlogit.estimator.explanation import explain
from torchlogit.estimator.inputs import NO_TARGET, Given, as_array, read, validated, validated_pair
from torchlogit.estimator.partial import Learner, Learning, fit_in_one_pass, partial_fit, reads_once
from torchlogit.estimator.penalty import choice_of, chosen_path, number_of
from torchlogit.estimator.problem import (
    Features,
    Problem,
    Rows,
    by_column,
    canonical,
    seed_of,
    torch_device,
    training_data,
    weights,
)
from torchlogit.estimator.progress import Progress
from torchlogit.estimator.targets import check_class_weight, checked_labels
from torchlogit.estimator.torch_modules import take_over
from torchlogit.estimator.watching import EvalSet, Observed, Observer, Validation, no_worse, others_of, value_at
from torchlogit.fit import Goal, fit
from torchlogit.inference import CLOSE, covariance
from torchlogit.model import as_linear
from torchlogit.objective import Objective
from torchlogit.path import L2Choice, certified, with_l2
from torchlogit.penalties import ElasticNet
from torchlogit.prediction import likeliest, log_probabilities, probability_of, raw_prediction
from torchlogit.prediction import probabilities as probabilities_of
from torchlogit.records import Certificate, FitResult, Params, Status
from torchlogit.solvers import Solver
from torchlogit.solvers.choice import BY_NAME
from torchlogit.storage import IN_MEMORY, Storage
from torchlogit.summary import summary

Array = NDArray[np.float64]
NAMES = (*BY_NAME, "streaming")
Bounds = tuple[ArrayLike | None, ArrayLike | None]


def _learns_on(model: Any) -> bool:
    """Whether there is a partial_fit: not with l1 or bounds, and the cause of the AttributeError says so."""
    if model.l1 or model.bounds is not None:
        raise InputError("l1 or bounds: learning in one pass takes l2 alone; set l1=0 and no bounds, or use fit")
    return True


class LogisticRegression(DocumentationLink, CallbackSupportMixin, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
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
        """Fits; whether it ended as it was asked to: after one pass, or by an observer, eval_set or a callback."""
        given = read(X, y)
        rows = self._rows(given, sample_weight, offset)
        if reads_once(self.solver):
            fit_in_one_pass(self, rows)
            return True
        problem = self._problem(rows, self._device(given), eval_set=eval_set)
        classes, center, validation, tasks = rows.targets.classes, problem.center, None, None
        if eval_set is not None:
            validation = Validation.beside(problem.objective, others_of(self, eval_set, classes), center)
        if Tasks.wanted(self):
            metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
            tasks = Tasks(self, X, y, metadata, lambda state: self._found(state.params, classes, center))
        observers: list[Observer] = [each for each in (validation, tasks) if each is not None]
        self._solve(problem, observers, None)
        self.__dict__.pop("eval_history_", None)
        if validation is not None:
            self.eval_history_ = validation.history
        if tasks is not None:
            tasks.end()
        return self.certificate_.status is Status.BUDGET and any(observer.asked for observer in observers)

    def _problem(
        self, rows: Rows, device: torch.device, storage: Storage = IN_MEMORY, eval_set: EvalSet | None = None
    ) -> Problem:
        """F of these rows, with the penalty that is given or chosen."""
        penalty, choice = self._penalty(rows.features.shape[1]), choice_of(self.l2)
        problem = rows.centred(penalty, bool(self.fit_intercept), device, storage)
        if choice is None:
            self.l2_ = penalty.l2
            return problem
        validation = choice.validation(eval_set)
        others = None if validation is None else problem.beside(others_of(self, validation, rows.targets.classes))
        path = chosen_path(choice, problem, seed=seed_of(self.random_state), validation=others)
        self.l2_, self.path_, self.chosen_by_ = path.l2, path.points, path.by
        return replace(problem, objective=with_l2(problem.objective, path.l2))

    def _solve(self, problem: Problem, observers: Sequence[Observer], checkpoints: Checkpoints | None) -> None:
        """Finds the answer and learns it."""
        objective, rows, center = problem.objective, problem.rows, problem.center
        start = self._start(objective, rows.targets.classes, center)
        solver = self._solver(objective)
        self.solver_: Solver | Learner = solver
        self._learning: Learning | None = None
        result = self._run(objective, Observed(solver, observers) if observers else solver, start, checkpoints)
        for observer in observers:
            result = observer.chosen(result)
        result = result if start is None else no_worse(result, objective, start)
        for name, value in self._found(result.params, rows.targets.classes, center).items():
            setattr(self, name, value)
        self.n_iter_, self.certificate_, self.history_ = result.passes, result.certificate, result.history
        if choice_of(self.l2) is not None:
            self.path_ = certified(self.path_, self.l2_, result.certificate)
        self.covariance_ = covariance(objective, result.params, result.certificate)
        self.training_data_ = training_data(rows.features, rows.targets, rows.weight)

    def _run(
        self, objective: Objective, solver: Solver, start: Params | None, checkpoints: Checkpoints | None
    ) -> FitResult:
        monitors = (Progress(objective.total_weight),) if self.verbose else ()
        result = fit(objective, solver, self._goal(), start=start, monitors=monitors, checkpoints=checkpoints)
        if self.verbose:
            print(file=sys.stderr)
        return result

    def _found(self, params: Params, classes: NDArray[Any], center: Array) -> dict[str, Any]:
        """What is needed to predict from a point of the fit; of several intercepts, which nothing else fixes, sum 0."""
        coef = params.coef.T.cpu().numpy().copy()
        intercept = params.intercept.cpu().numpy() - coef @ center
        intercept -= intercept.mean() if len(intercept) > 1 else 0.0
        return {"coef_": coef, "intercept_": intercept, "classes_": classes, "_center": center}

    @classmethod
    def from_torch(cls, linear: torch.nn.Linear, classes: ArrayLike | None = None) -> Self:
        """An estimator that predicts what a torch.nn.Linear does; not certified, but a start for `fit` (warm_start).

        classes: of its outputs in their order, 0, 1, ... by default; of one output, the logit: the other class first.

        >>> model = LogisticRegression.from_torch(torch.nn.Linear(3, 1), classes=["no", "yes"])
        >>> model = model.set_params(warm_start=True)  # and fit goes on from the Linear
        """
        model = cls()
        take_over(model, linear, classes)
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
        from torchlogit.estimator.saving import to_model  # which holds a LogisticRegression to be known

        return summary(to_model(self), elsewhere="coef_ holds")

    def save(self, path: str | Path) -> None:
        """Writes the model file that torchlogit.load reads, without an encoder; torchlogit.save takes a pipeline, too.

        Raises InputError for classes that are no text, numbers or truths, and for numbers that are not finite.
        """
        from torchlogit.estimator.saving import save

        save(self, path)

    @available_if(_learns_on)  # type: ignore[untyped-decorator]
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
        partial_fit(self, X, y, classes, sample_weight)
        return self

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _rows(self, given: Given, sample_weight: ArrayLike | None, offset: ArrayLike | None) -> Rows:
        """X, y and the weights, checked as scikit-learn does, the classes' own weights multiplied in."""
        targets = None if given.y is None else probabilities(given.y)
        if targets is not None:
            features = validated(self, given, reset=True)
            check_consistent_length(features, given.y)
        else:
            features, values = validated_pair(self, given)
            targets = checked_labels(values)
        counts = weights(as_array(sample_weight), features.shape[0])
        check_class_weight(self.class_weight, targets)
        return Rows.of(canonical(features), targets, counts, as_array(offset), class_weight=self.class_weight)

    def _penalty(self, n_features: int) -> ElasticNet:
        """That of the fit; before l2 has been chosen, with one that stands in for it."""
        lower, upper = self.bounds if self.bounds is not None else (None, None)
        factors = by_column("penalty_factors", self.penalty_factors, n_features)
        ends = (by_column(f"bounds, {name}", end, n_features) for name, end in (("lower", lower), ("upper", upper)))
        return ElasticNet(float(self.l1), number_of(self.l2, getattr(self, "l2_", 1.0)), factors, *ends)

    def _device(self, given: Given) -> torch.device:
        return torch_device(self.device, given.X.device if isinstance(given.X, torch.Tensor) else "cpu")

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
            return given.answer(probabilities_of(self._raw_of(features)))
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

    def _start(self, objective: Objective, classes: NDArray[Any], center: Array) -> Params | None:
        """The last answer, where it is a better start than none."""
        if not self.warm_start or not hasattr(self, "coef_"):
            return None
        outputs = 1 if len(classes) == 2 else len(classes)
        if not np.array_equal(classes, self.classes_) or self.coef_.shape != (outputs, len(center)):
            raise InputError("warm_start: the classes or columns are not those of the last fit; use a new estimator")
        last = Params(torch.tensor(self.coef_.T), torch.tensor(self.intercept_ + self.coef_ @ center))
        last, empty = (
            objective.params(objective.feasible(theta)) for theta in (objective.theta(last), objective.start())
        )
        return last if value_at(objective, last) < value_at(objective, empty) else None

    def _warn_unless_certified(self, certificate: Certificate) -> None:
        if certificate.status is not Status.CERTIFIED:
            names = list(getattr(self, "feature_names_in_", [f"x{j}" for j in range(self.n_features_in_)]))
            outputs = list(self.classes_ if len(self.coef_) > 1 else self.classes_[1:])
            warnings.warn(explain(certificate, names, outputs), ConvergenceWarning, stacklevel=3)


def fit_rows(
    classifier: LogisticRegression, rows: Rows, storage: Storage, checkpoints: Checkpoints | None = None
) -> None:
    """Fits the classifier to rows that are ready, as `fit` would; vectors as long as they are live in the storage."""
    classifier.n_features_in_ = rows.features.shape[1]
    problem = classifier._problem(rows, torch_device(classifier.device), storage)
    classifier._solve(problem, (), checkpoints)
