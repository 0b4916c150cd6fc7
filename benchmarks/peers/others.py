"""Other packages. Each is imported when it is used, so that none has to be installed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse

from benchmarks.peers.peer import (
    PRECISIONS,
    TIGHT,
    Fit,
    beyond,
    counts,
    dense_only,
    liblinear_cannot,
    missing,
    row,
)
from benchmarks.problems import Problem

STATSMODELS_ENTRIES = 2e7  # entries of X, of which it makes several copies


@dataclass(frozen=True)
class Glum:
    """glum's binomial regression; a budget is its max_iter. It minimises F / n."""

    name: str = "glum"
    note: str = f"GeneralizedLinearRegressor, alpha = (l1 + l2) / n, gradient_tol={TIGHT:g} so that max_iter decides"
    budgets: tuple[float, ...] = counts(2, 3, 4, 5, 6, 7, 8, 10, 12, 15, last=100)
    precisions: tuple[str, ...] = PRECISIONS

    def cannot(self, problem: Problem) -> str | None:
        """Refuses more than two classes, and sparse rows: the Hessian of many columns would not fit in memory."""
        return "no softmax" if problem.n_classes > 2 else dense_only(problem) or missing("glum")

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Iteratively reweighted least squares, with coordinate descent for l1."""
        from glum import GeneralizedLinearRegressor

        options = {} if budget is None else {"max_iter": int(budget), "gradient_tol": TIGHT}
        model = GeneralizedLinearRegressor(
            family="binomial",
            alpha=(problem.l1 + problem.l2) / len(problem.y),
            l1_ratio=problem.l1_share,
            **options,
        ).fit(problem.X, problem.y.astype(problem.X.dtype))
        return Fit(*row(model.coef_, model.intercept_), f"{model.n_iter_} iterations", model.n_iter_ < model.max_iter)


@dataclass(frozen=True)
class Statsmodels:
    """statsmodels' Logit and MNLogit by Newton's method; a budget is its maxiter."""

    name: str = "statsmodels"
    note: str = "Logit or MNLogit, with add_constant"
    budgets: tuple[float, ...] = counts(2, 3, 4, 5, 6, 7, 8, last=35)
    precisions: tuple[str, ...] = ("float64",)

    def cannot(self, problem: Problem) -> str | None:
        """Refuses problems with a penalty, sparse rows, and large X."""
        if problem.l1 or problem.l2:
            return "no l2, and its l1 is for small tables"
        return dense_only(problem) or missing("statsmodels") or beyond(problem, STATSMODELS_ENTRIES)

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Maximum likelihood; of more than two classes the first has coefficients 0."""
        from statsmodels.discrete.discrete_model import Logit, MNLogit

        model = (Logit if problem.n_classes == 2 else MNLogit)(
            problem.y, np.column_stack([problem.X, np.ones(len(problem.y), dtype=problem.X.dtype)])
        )
        options = {} if budget is None else {"maxiter": int(budget), "tol": TIGHT}
        result = model.fit(method="newton", disp=0, **options)
        params = np.asarray(result.params, dtype=np.float64).reshape(problem.X.shape[1] + 1, -1).T
        if problem.n_classes > 2:
            params = np.vstack([np.zeros(params.shape[1]), params])
        details = result.mle_retvals
        return Fit(params[:, :-1], params[:, -1], f"{details['iterations']} iterations", details["converged"])


@dataclass(frozen=True)
class XGBoostLinear:
    """xgboost's gblinear; a budget is its rounds, each one epoch of coordinate descent.

    xgboost multiplies lambda and alpha by n, so they are set to l2 / n and l1 / n; the bias is not penalised.
    """

    name: str = "xgboost-gblinear"
    note: str = 'booster="gblinear", updater="coord_descent", eta=1; X is float32 there, and the default 10 rounds'
    budgets: tuple[float, ...] = counts(last=1000)
    precisions: tuple[str, ...] = ("float32",)

    def cannot(self, problem: Problem) -> str | None:
        """Refuses more than two classes, for which it has another objective, and problems without an intercept."""
        if problem.n_classes > 2:
            return "coordinate descent on one class at a time: two classes only here"
        return _fixed_intercept(problem) or missing("xgboost")

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """xgboost.train; making the DMatrix is timed, too."""
        import xgboost

        n = len(problem.y)
        rounds = 10 if budget is None else int(budget)
        model = xgboost.train(
            {
                "booster": "gblinear",
                "objective": "binary:logistic",
                "updater": "coord_descent",
                "eta": 1.0,
                "lambda": problem.l2 / n,
                "alpha": problem.l1 / n,
                "base_score": 0.5,
                "verbosity": 0,
                "nthread": torch.get_num_threads(),
            },
            xgboost.DMatrix(problem.X, problem.y),
            num_boost_round=rounds,
        )
        lines = model.get_dump()[0].split()  # "bias:", its value, "weight:", their values
        values = np.array([float(word) for word in lines if not word.endswith(":")])
        return Fit(*row(values[1:], values[0]), f"{rounds} rounds", False)


@dataclass(frozen=True)
class Skglm:
    """skglm's sparse logistic regression, compiled by numba; a budget is its tolerance. It minimises F / n."""

    name: str = "skglm"
    note: str = "SparseLogisticRegression, alpha = (l1 + l2) / n; compiled before; X float64, by columns"
    budgets: tuple[float, ...] = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 1e-6, 1e-7, 1e-8)
    precisions: tuple[str, ...] = ("float64",)

    def cannot(self, problem: Problem) -> str | None:
        """Refuses more than two classes, and problems without l1."""
        if problem.n_classes > 2:
            return "one class against the rest, no softmax"
        if not problem.l1:
            return "working sets for l1: not for l2 alone"
        return missing("skglm")

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Proximal Newton on working sets, the intercept not penalised."""
        from skglm import SparseLogisticRegression

        tolerance = 1e-4 if budget is None else budget
        model = SparseLogisticRegression(
            alpha=(problem.l1 + problem.l2) / len(problem.y),
            l1_ratio=problem.l1_share,
            tol=tolerance,
            fit_intercept=problem.intercept,
        ).fit(sparse.csc_matrix(problem.X) if problem.sparse else np.asfortranarray(problem.X), problem.y)
        return Fit(*row(model.coef_, model.intercept_), f"tol={tolerance:g}, {model.n_iter_} iterations", False)


def _fixed_intercept(problem: Problem) -> str | None:
    """The reason to give if a peer always fits an intercept and the problem has none; None if it has one."""
    return None if problem.intercept else "always fits an intercept"


@dataclass(frozen=True)
class Liblinear:
    """LIBLINEAR itself, which can leave the intercept out of the penalty (-R); a budget is its tolerance (-e)."""

    name: str = "liblinear-official"
    note: str = "its own Python package: -s 0 or 6, -B 1 -R, so that the objective is the same; X goes in by way of CSR"
    budgets: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8)
    precisions: tuple[str, ...] = ("float64",)

    def cannot(self, problem: Problem) -> str | None:
        """Refuses more than two classes, l1 together with l2, and no penalty."""
        return liblinear_cannot(problem) or missing("liblinear")

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """liblinear.train; converting the rows to its own format is timed, too."""
        return _liblinear(problem, 6 if problem.l1 else 0, 0.01 if budget is None else budget)


@dataclass(frozen=True)
class LiblinearDual:
    """LIBLINEAR's dual coordinate descent; a budget is its tolerance (-e)."""

    name: str = "liblinear-dual"
    note: str = "its own Python package: -s 7, which would penalise an intercept; X goes in by way of CSR"
    budgets: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    precisions: tuple[str, ...] = ("float64",)

    def cannot(self, problem: Problem) -> str | None:
        """Refuses problems with l1 or an intercept."""
        if problem.l1:
            return "no l1"
        return (
            "would penalise the intercept" if problem.intercept else liblinear_cannot(problem) or missing("liblinear")
        )

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """liblinear.train; converting the rows to its own format is timed, too."""
        return _liblinear(problem, 7, 0.1 if budget is None else budget)


def _liblinear(problem: Problem, solver: int, tolerance: float) -> Fit:
    from liblinear import liblinearutil

    rows = liblinearutil.problem(2.0 * problem.y - 1.0, sparse.csr_matrix(problem.X))
    intercept = "-B 1 -R" if problem.intercept else "-B -1"
    strength = problem.l1 or problem.l2
    model = liblinearutil.train(rows, f"-s {solver} -c {1 / strength!r} -e {tolerance!r} {intercept} -q")
    values = np.ctypeslib.as_array(model.w, (problem.X.shape[1] + problem.intercept,)).copy() * model.get_labels()[0]
    coef, last = (values[:-1], values[-1]) if problem.intercept else (values, 0.0)
    return Fit(*row(coef, last), f"-e {tolerance:g}", False)
