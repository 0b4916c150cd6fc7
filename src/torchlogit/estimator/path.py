"""LogisticRegressionPath: fits many penalties at once, chooses the best, and certifies any of them on request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from torchlogit.errors import InputError
from torchlogit.estimator.classifier import LogisticRegression
from torchlogit.estimator.predictions import LinearClassifier
from torchlogit.path import MEASURE_NAMES, By, L2Choice, PenaltyPath, certified, curve
from torchlogit.solvers import Solver

Array = NDArray[np.float64]


class LogisticRegressionPath(LinearClassifier):
    """Logistic regression for a whole path of penalties l2, trained together, and the l2 that should predict best.

    Parameters
    ----------
    l2s : array-like, optional
        The penalties. By default a coarse grid is computed from the data, and then a finer grid around its best l2.
    choose : {"auto", "alo", "cv", "validation"}, default "auto"
        How the penalties are compared: "alo" (approximate leave-one-out), "cv" (folds; each reading of X serves all of
        them), "validation" (the rows of eval_set), or "auto" for the first of "validation", "alo" and "cv" that is
        possible. "alo" is possible for at most 2,500 coefficients.
    one_standard_error : bool, default False
        Choose the largest l2 whose log loss is within one standard error of the lowest.
    cv : int or splitter of scikit-learn, default 5
        The number of folds, or a splitter that makes them.
    fit_intercept, solver, tol, max_iter, class_weight, penalty_factors, device, random_state, verbose
        As for `LogisticRegression`.

    Attributes
    ----------
    l2_ : float
        The l2 that was chosen.
    l2s_ : array of shape (n_l2s,)
        All penalties, from the largest to the smallest.
    path_ : tuple of PathPoint
        For each penalty: .l2, .objective, .bound, .loss, .standard_error, .df.
    coefs_ : array of shape (n_l2s, 1 or n_classes, n_features)
    intercepts_ : array of shape (n_l2s, 1 or n_classes)
    chosen_by_ : str
        "alo", "cv" or "validation".
    model_ : LogisticRegression
        The fit at l2_, which is certified.
    coef_, intercept_, classes_, certificate_, n_iter_, n_features_in_, feature_names_in_
        Those of model_.

    Raises
    ------
    ValueError
        If X or y cannot be used.

    Warns
    -----
    ConvergenceWarning
        If the answer is not certified.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    >>> path = LogisticRegressionPath(l2s=[0.1, 1.0, 10.0]).fit(X, [0, 0, 1, 0, 1, 1])
    >>> path.l2_ in path.l2s_, path.coefs_.shape, str(path.certificate_.status)
    (True, (3, 1, 1), 'certified')
    """

    def __init__(
        self,
        *,
        l2s: ArrayLike | None = None,
        choose: Literal["auto", "alo", "cv", "validation"] = "auto",
        one_standard_error: bool = False,
        cv: Any = 5,
        fit_intercept: bool = True,
        solver: Literal["auto", "newton", "dual", "sgd"] | Solver = "auto",
        tol: float = 1e-6,
        max_iter: float = 200,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        penalty_factors: ArrayLike | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.l2s = l2s
        self.choose = choose
        self.one_standard_error = one_standard_error
        self.cv = cv
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.penalty_factors = penalty_factors
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
        eval_set: tuple[Any, Any] | None = None,
    ) -> Self:
        """Fit the path and choose an l2; the parameters are those of `LogisticRegression.fit`.

        eval_set: (X, y), rows to choose by.
        """
        paths = list[PenaltyPath]()
        model = self._model(
            L2Choice(
                l2s=None if self.l2s is None else tuple(np.ravel(self.l2s).tolist()),
                by=_by(self.choose),
                one_standard_error=self.one_standard_error,
                cv=self.cv,
                eval_set=eval_set,
                on_path=paths.append,
            )
        )
        self.model_ = model.fit(X, y, sample_weight, offset=offset)
        self._center = model._center
        (path,) = paths
        model.l2 = model.l2_
        self.l2_, self.path_, self.chosen_by_ = model.l2_, model.path_, path.by
        self.l2s_ = np.array([point.l2 for point in path.points])
        self.coefs_ = np.stack([params.coef.T.cpu().numpy() for params in path.params])
        self.intercepts_ = np.stack([params.intercept.cpu().numpy() for params in path.params])
        self._replace(model)
        for name in ("coef_", "intercept_", "classes_", "certificate_", "n_iter_", "n_features_in_"):
            setattr(self, name, getattr(model, name))
        if hasattr(model, "feature_names_in_"):
            self.feature_names_in_ = model.feature_names_in_
        self._rows = X, y, sample_weight, offset
        return self

    def certify(self, l2: float) -> LogisticRegression:
        """Fit the model at this l2, which need not be on the path, until it is certified; returns the model.

        The fit begins at the nearest point of the path. If l2 is on the path, its point in `path_` gets the certified
        objective and bound.

        Raises
        ------
        InputError
            After pickling: the rows are not pickled.
        """
        check_is_fitted(self)
        if self._rows is None:
            raise InputError("certify: a pickled path does not hold the rows that it was fitted to; fit it again")
        X, y, sample_weight, offset = self._rows
        near = int(np.abs(np.log(self.l2s_) - np.log(l2)).argmin())
        model = self._model(float(l2))
        model.warm_start = True
        model._remember(replace(self.model_._fitted, coef=self.coefs_[near].T, intercept=self.intercepts_[near]))
        model.fit(X, y, sample_weight, offset=offset)
        self.path_ = certified(self.path_, float(l2), model.certificate_)
        self._replace(model)
        return model

    def _replace(self, model: LogisticRegression) -> None:
        """Put a certified model's coefficients in place of those of the path at the same l2, if it is on the path."""
        at = self.l2s_ == model.l2_
        self.coefs_[at], self.intercepts_[at] = model.coef_, model.intercept_

    def picture(self) -> str:
        """An SVG picture of the estimated log loss on new rows against l2, with the l2 that was chosen."""
        check_is_fitted(self)
        return curve(self.path_, self.l2_, f"Rows not seen, by {MEASURE_NAMES[self.chosen_by_]}")

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_rows": None} if "_rows" in state else state

    def _model(self, l2: float | L2Choice) -> LogisticRegression:
        """A LogisticRegression with this l2 and the path's other settings."""
        own = ("l2s", "choose", "one_standard_error", "cv")
        shared = {name: value for name, value in self.get_params(deep=False).items() if name not in own}
        return LogisticRegression(l2=l2, **shared)


def _by(choose: str) -> By | None:
    if choose not in ("auto", *MEASURE_NAMES):
        raise InputError(f"choose={choose!r}: expected one of auto, {', '.join(MEASURE_NAMES)}")
    return None if choose == "auto" else next(by for by in MEASURE_NAMES if by == choose)
