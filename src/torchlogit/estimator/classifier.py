"""LogisticRegression: training as a scikit-learn classifier."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from torchlogit.data.encoding.encoder import Encoder
from torchlogit.errors import InputError, TorchlogitWarning
from torchlogit.estimator.callbacks import CallbackSupportMixin, Tasks, with_callbacks
from torchlogit.estimator.inputs import read
from torchlogit.estimator.predictions import LinearClassifier
from torchlogit.estimator.rows import EvalSet, further_rows, training_rows, validation_rows
from torchlogit.estimator.torch_modules import fitted_from_linear
from torchlogit.model import LogisticModel, as_linear
from torchlogit.path import L2Choice
from torchlogit.records import Status
from torchlogit.solvers import Solver
from torchlogit.summary import summary
from torchlogit.training.explanation import explain
from torchlogit.training.fitted import Fitted, StartingPoint
from torchlogit.training.one_pass import train_further
from torchlogit.training.rows import LabelledRows
from torchlogit.training.settings import Bounds, OnePassSolver, Settings
from torchlogit.training.to_model import to_model
from torchlogit.training.train import train

Array = NDArray[np.float64]
# Attributes that only some fits set: `_remember` removes those of the previous fit.
OPTIONAL = ("training_data_", "solver_", "path_", "chosen_by_", "eval_history_", "progressive_", "expected_excess_")


def _can_learn_in_one_pass(model: Any) -> bool:
    """Whether the estimator has partial_fit. scikit-learn raises AttributeError with this InputError as its cause."""
    if model.l1 or model.bounds is not None:
        raise InputError("l1 or bounds: learning in one pass takes l2 alone; set l1=0 and no bounds, or use fit")
    return True


class LogisticRegression(CallbackSupportMixin, LinearClassifier):  # type: ignore[misc]
    """Logistic regression for two or more classes, with a proof of how close the answer is to the optimum.

    Minimises F(W, b) = sum_i s_i loss(x_i W + b, y_i) + l1 |W|_1 + l2 / 2 |W|^2 over the coefficients W and the
    intercept b, which is not penalised. The loss is the logistic loss for two classes and softmax cross-entropy for
    more. X is not standardised, and the solver does not need it to be.

    Parameters
    ----------
    l1 : float, default 0
        Strength of the l1 penalty. A larger l1 makes the coefficients of more columns exactly 0.
    l2 : float, "auto" or L2Choice, default 1
        Strength of the l2 penalty, 1 / C in scikit-learn's LogisticRegression. With l2 = 0 and l1 = 0 the answer is the
        maximum likelihood estimate. "auto" chooses the l2 that should predict best, by approximate leave-one-out or by
        folds; an `L2Choice` sets how it is chosen (docs/penalty.md).
    fit_intercept : bool, default True
        Whether there is an intercept.
    solver : str or solver, default "auto"
        "newton" (`StochasticNewton`), "dual" (`DualAscent` or `SoftmaxAscent`), "auto" (the one of these two that is
        faster on such data), "streaming" (every row is read once, in order; there is no certificate), "sgd" (`SGD` with
        its defaults), or a solver object.
    tol : float, default 1e-6
        The fit stops once F is proven to be within tol * F of its minimum.
    max_iter : float, default 200
        The fit stops after this many passes over the rows.
    time_budget : float, optional
        The fit stops after this many seconds.
    class_weight : dict or "balanced", optional
        A weight for each class, 1 for classes that are left out; "balanced" gives all classes the same total weight. A
        class weight is not a count, so there are no standard errors.
    warm_start : bool, default False
        Whether `fit` begins at the last answer. The new answer then has no larger objective than the last one.
    device : str or torch.device, default "auto"
        The device to compute on; "auto" is the device of X if X is a tensor, else the CPU.
    random_state : int or RandomState, optional
        Seeds the solver's samples and the folds that choose l2.
    verbose : int, default 0
        1 shows progress on standard error.
    penalty_factors : float or array of shape (n_features,), optional
        Multiples of l1 and l2 for each column; 0 for a column without a penalty.
    bounds : tuple (lower, upper), optional
        Bounds of the coefficients, each a number, an array of shape (n_features,) or None; (0, None) for no negative
        coefficients.

    Attributes
    ----------
    coef_ : array of shape (1, n_features), or (n_classes, n_features) for more than two classes
    intercept_ : array of shape (1,) or (n_classes,)
    classes_ : array of shape (n_classes,)
    certificate_ : Certificate
        How far F is from its minimum: .status, .bound, .relative_bound, .standard_errors, .message.
    n_iter_ : float
        Passes over the rows.
    history_ : tuple of Step
        Passes, seconds, objective and bound after each step.
    eval_history_ : list
        The log loss on eval_set after each step, if eval_set was given.
    covariance_ : Covariance or Refusal
        The covariance of the coefficients, or the reason why there is none. `errors_of(combinations)` gives the
        standard errors of combinations of the coefficients and the intercept.
    l2_ : float
        The l2 that was used.
    path_, chosen_by_ : tuple of PathPoint, str
        If l2 was chosen: the penalties that were tried, and the measure by which one of them was chosen.
    solver_ : solver
        The solver that was used.
    training_data_ : dict
        The number of rows, their weight, and a fingerprint of them.
    progressive_, expected_excess_
        After training in one pass: the losses of predictions made for each row before learning from it; and the
        expected excess of the log loss over that of the best linear model, None if unknown.
    n_features_in_, feature_names_in_
        The number of columns, and their names if X has any.

    Raises
    ------
    ValueError
        If X or y cannot be used.

    Warns
    -----
    ConvergenceWarning
        If the answer is not certified.

    Notes
    -----
    X may be an array, a scipy or torch sparse matrix (on the CPU; CSR is not copied), a pandas, polars or Arrow table
    of numbers, a tensor, a Dataset or DataLoader of torch, a Hugging Face data set, or the path of a file
    (docs/estimator.md).

    Examples
    --------
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
        solver: Literal["auto", "newton", "dual", "streaming", "sgd"] | Solver | OnePassSolver = "auto",
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
        """Fit the model to rows.

        Parameters
        ----------
        X : array-like of shape (n, n_features)
            See the class's notes.
        y : array-like, str or None
            Labels of any type, (n,). Or probabilities of the second class, (n,), if all values are floats in [0, 1] and
            at least one is strictly between; classes_ is then [0, 1]. Or probabilities of every class, (n, n_classes),
            whose rows sum to 1. A str names a column of X. None: X contains y, as a Dataset of pairs (x, y) does.
        sample_weight : array-like of shape (n,), optional
            Weights, not negative: a weight is a count of identical rows, in F and in the standard errors. If weights
            are multiplied by 100, the standard errors are a tenth.
        offset : array-like of shape (n,), or (n, n_classes) for more than two classes, optional
            A constant that is added to every row's raw prediction in `fit`; predictions do not use it.
        eval_set : tuple (X, y) or (X, y, sample_weight), optional
            Validation rows. Their mean log loss after every step is in `eval_history_`. The fit ends once this loss has
            not fallen for five steps; a fit that ends before it is certified returns the step with the lowest loss.
            With l2="auto", l2 is chosen on these rows; an L2Choice can say otherwise.

        Returns
        -------
        LogisticRegression
            The estimator itself.
        """
        if not self._fit(X, y, sample_weight, offset, eval_set):
            self._warn_unless_certified()
        self._warn_of_stream()
        return self

    @with_callbacks  # type: ignore[untyped-decorator]
    def _fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, offset: ArrayLike | None, eval_set: EvalSet | None
    ) -> bool:
        """Fits. Returns whether it ended uncertified by the user's wish: one pass, eval_set or a callback."""
        settings = self._settings()
        rows = training_rows(self, read(X, y), sample_weight, offset, self.class_weight)
        if settings.one_pass:
            self._remember(train(settings, rows))
            return True
        start = self._warm_start(rows)
        validation = None if eval_set is None else validation_rows(self, eval_set, rows.classes)
        own_set = getattr(self.l2, "eval_set", None)  # an L2Choice may bring rows of its own
        chooses = validation if own_set is None else validation_rows(self, own_set, rows.classes)
        tasks = Tasks(self, X, y, sample_weight, rows.classes) if Tasks.needed(self) else None
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
        """Sets all attributes that `fit` and `partial_fit` leave; no other method sets them."""
        self.coef_, self.intercept_, self.classes_ = fitted.coef.T.copy(), fitted.intercept, fitted.classes
        self._fitted, self._center = replace(fitted, coef=self.coef_.T), fitted.center
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

    def _as_model(self, encoder: Encoder | None = None, target: str | None = None) -> LogisticModel:
        """The model to save. It has the present values of coef_ and intercept_, which a user may have changed."""
        check_is_fitted(self)
        coef = np.ascontiguousarray(self.coef_.T)
        fitted = replace(self._fitted, coef=coef, intercept=self.intercept_, classes=self.classes_)
        return to_model(fitted, encoder, feature_names=self._column_names(), target=target)

    def _starting_point(self) -> StartingPoint | None:
        """The present model, as a point from which training can begin; None before the first fit."""
        if not hasattr(self, "_fitted"):
            return None
        fitted = self._fitted
        weight = None if fitted.rows is None else fitted.rows["weight"]
        return StartingPoint(self.coef_.T, self.intercept_, self.classes_, weight, fitted.penalty.l2, fitted.stream)

    def _warm_start(self, rows: LabelledRows) -> StartingPoint | None:
        """The present model if warm_start is set, else None; InputError if the rows have other classes or columns."""
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
        """An estimator with the same predictions as a torch.nn.Linear.

        It has no certificate, but `fit` can begin at its coefficients (warm_start).

        Parameters
        ----------
        linear : torch.nn.Linear
            A layer whose outputs are the inputs of a softmax, or whose only output is the logit of the second class.
        classes : array-like, optional
            The class of each output, in order; for one output, both classes. By default 0, 1, ...

        Examples
        --------
        >>> model = LogisticRegression.from_torch(torch.nn.Linear(3, 1), classes=["no", "yes"])
        >>> model = model.set_params(warm_start=True)  # the next fit begins from the Linear
        """
        fitted = fitted_from_linear(linear, classes)
        model = cls(fit_intercept=fitted.has_intercept)
        model.n_features_in_ = len(fitted.coef)
        model._remember(fitted)
        return model

    def to_torch(self, dtype: torch.dtype | None = None) -> torch.nn.Linear:
        """A torch.nn.Linear from X to the raw prediction; see `LogisticModel.to_torch`."""
        check_is_fitted(self)
        return as_linear(self.coef_.T, self.intercept_, dtype)

    def summary(self) -> str:
        """A text about the fit: penalty, solver, objective, status and bound; then up to 500 coefficients.

        Each coefficient is shown per unit of its column, with the odds ratio e^coefficient (for more than two classes,
        against the geometric mean of all classes) and, if they are valid, its standard error, z and p; if they are not,
        the reason is given. Where columns are collinear, their relations are shown, and the differences between levels
        that the data determine. Raises InputError if the model was not fitted.

        Examples
        --------
        >>> print(LogisticRegression(l2=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1]).summary().splitlines()[2])
        penalty      l1 = 0, l2 = 0
        """
        return summary(self._as_model(), elsewhere="coef_ holds")

    def save(self, path: str | Path) -> None:
        """Write a model file that `torchlogit.load` reads; `torchlogit.save` also takes a pipeline with an encoder.

        Raises InputError for classes that are not text, numbers or booleans, and for coefficients that are not finite.
        """
        self._as_model().save(path)

    @available_if(_can_learn_in_one_pass)  # type: ignore[untyped-decorator]
    def partial_fit(
        self, X: Any, y: Any = None, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Learn from further rows, each read once and in order.

        The result does not depend on how the rows are divided among calls. After `fit`, learning continues from the
        fitted coefficients. The method does not exist if l1 or bounds are set. Warns if the rows were predicted no
        better than by the class share of the rows before them. See docs/streams.md.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`; y holds labels.
        classes : array-like, optional
            All classes that may ever occur; needed in the first call, unless its rows hold them all.

        Returns
        -------
        LogisticRegression
            The estimator itself.

        Raises
        ------
        InputError
            If a label is not one of the classes.

        Notes
        -----
        class_weight="balanced" uses the numbers of rows so far.

        Examples
        --------
        >>> model = LogisticRegression()
        >>> for x, y in (([[0.0], [3.0]], ["no", "yes"]), ([[1.0], [2.0]], ["yes", "no"])):
        ...     model = model.partial_fit(x, y)
        >>> model.predict([[5.0]]).tolist(), str(model.certificate_.status)
        (['yes'], 'uncertifiable')
        """
        rows = further_rows(self, X, y, classes, sample_weight)
        self._remember(train_further(self._settings(), rows, self._starting_point()))
        self._warn_of_stream()
        return self

    def _warn_of_stream(self) -> None:
        if self._fitted.stream_warning is not None:
            warnings.warn(self._fitted.stream_warning, TorchlogitWarning, stacklevel=3)

    def _warn_unless_certified(self) -> None:
        if self.certificate_.status is not Status.CERTIFIED:
            outputs = list(self.classes_ if len(self.coef_) > 1 else self.classes_[1:])
            warnings.warn(explain(self.certificate_, self._column_names(), outputs), ConvergenceWarning, stacklevel=3)


def _seed(random_state: int | np.random.RandomState | None) -> int:
    """The seed: an integer is used directly, and None is 0, the default of the command line."""
    if random_state is None or isinstance(random_state, int | np.integer):
        return int(random_state or 0)
    return int(check_random_state(random_state).randint(2**31))
