"""scikit-learn's solvers, for the same objective."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression, SGDClassifier

from benchmarks.peers.peer import PRECISIONS, TIGHT, Fit, liblinear_cannot
from benchmarks.problems import Problem

HESSIAN_SIDE = 2000  # rows of a Hessian beyond which newton-cholesky takes minutes an iteration
# liblinear penalises the intercept; this divides its l2 penalty by 1e4, its l1 penalty by 100.
INTERCEPT_SCALING = 100.0


@dataclass(frozen=True)
class ScikitLearn:
    """LogisticRegression with one of its solvers and a tight tolerance; a budget is its max_iter."""

    solver: str
    budgets: tuple[float, ...]

    @property
    def name(self) -> str:
        """The solver's name."""
        return self.solver

    @property
    def note(self) -> str:
        """Its tolerance, and liblinear's penalty on the intercept."""
        tolerance = f"LogisticRegression, tol={TIGHT:g} so that max_iter decides: a warning says that it was not met"
        if self.solver != "liblinear":
            return tolerance
        return f"{tolerance}; penalises the intercept: intercept_scaling={INTERCEPT_SCALING:g}, judged by the same F"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Both; float64 alone for liblinear, which converts to it."""
        return PRECISIONS[1:] if self.solver == "liblinear" else PRECISIONS

    def cannot(self, problem: Problem) -> str | None:
        """Only saga and liblinear have l1; liblinear has no softmax, no l1 with l2, and always a penalty."""
        if problem.l1 and self.solver not in ("saga", "liblinear"):
            return "no l1"
        if self.solver == "liblinear":
            return liblinear_cannot(problem)
        if self.solver == "newton-cholesky" and (problem.n_classes > 2 or problem.sparse):
            return _hopeless_hessian(problem)
        return None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """LogisticRegression(C=1 / (l1 + l2), l1_ratio=l1 / (l1 + l2), ...).fit."""
        options = {} if budget is None else {"max_iter": int(budget), "tol": TIGHT}
        strength = problem.l1 + problem.l2
        model = LogisticRegression(
            C=1 / strength if strength else np.inf,
            fit_intercept=problem.intercept,
            l1_ratio=problem.l1_share,
            solver=self.solver,
            intercept_scaling=INTERCEPT_SCALING if self.solver == "liblinear" else 1,
            random_state=0,
            **options,
        ).fit(problem.X, problem.y)
        iterations = int(np.max(model.n_iter_))
        return _answer(model, f"{iterations} iterations", iterations < model.max_iter)


@dataclass(frozen=True)
class ScikitLearnSGD:
    """SGDClassifier(loss="log_loss") with its default settings; a budget is its max_iter."""

    name: str = "sgdclassifier"
    note: str = "default settings but alpha = (l1 + l2) / n, and penalty: l2, elasticnet with its l1_ratio, or None"
    budgets: tuple[float, ...] = (1, 5, 20, 100, 1000)
    precisions: tuple[str, ...] = PRECISIONS

    def cannot(self, problem: Problem) -> str | None:
        """Refuses more than two classes: it has no softmax."""
        return "one class against the rest, no softmax" if problem.n_classes > 2 else None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """SGDClassifier(loss="log_loss", alpha=(l1 + l2) / n, ...).fit."""
        options = {} if budget is None else {"max_iter": int(budget)}
        intercept = problem.intercept
        model = SGDClassifier(
            loss="log_loss", fit_intercept=intercept, random_state=0, **_sgd_penalty(problem), **options
        )
        model.fit(problem.X, problem.y)
        return _answer(model, f"{model.n_iter_} epochs", model.n_iter_ < model.max_iter)


def _hopeless_hessian(problem: Problem) -> str | None:
    """The reason to give if newton-cholesky's Hessian, which is of all classes for softmax, is too large."""
    side = (problem.n_classes if problem.n_classes > 2 else 1) * (problem.X.shape[1] + 1)
    return f"a Hessian of {side:,} x {side:,}: minutes an iteration" if side > HESSIAN_SIDE else None


def _sgd_penalty(problem: Problem) -> dict[str, object]:
    """The penalty options; without a penalty alpha keeps its default, on which the learning rate depends."""
    strength = problem.l1 + problem.l2
    if not strength:
        return {"penalty": None}
    kind = "elasticnet" if problem.l1 else "l2"
    return {"penalty": kind, "alpha": strength / len(problem.y), "l1_ratio": problem.l1_share}


def _answer(model: LogisticRegression | SGDClassifier, ended: str, settled: bool) -> Fit:
    return Fit(model.coef_.astype(np.float64), np.array(model.intercept_, dtype=np.float64, ndmin=1), ended, settled)
