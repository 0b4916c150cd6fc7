"""torchlogit, called as users call it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.peers.peer import PRECISIONS, Fit
from benchmarks.problems import Problem
from torchlogit import LogisticRegression
from torchlogit.records import Status


def certified(problem: Problem, tol: float, time_budget: float | None = None) -> LogisticRegression:
    """A torchlogit fit with the default solver and this tolerance."""
    options = {"l2": problem.l2, "l1": problem.l1} if problem.l1 else {"l2": problem.l2}
    model = LogisticRegression(fit_intercept=problem.intercept, tol=tol, time_budget=time_budget, **options)
    return model.fit(problem.X, problem.y)


@dataclass(frozen=True)
class Torchlogit:
    """torchlogit's default solver; a budget is the relative bound that it has to prove."""

    name: str = "torchlogit"
    note: str = "LogisticRegression(tol=...).fit: checks, proof and covariance included"
    budgets: tuple[float, ...] = (1e-3, 1e-6)
    precisions: tuple[str, ...] = PRECISIONS

    def cannot(self, problem: Problem) -> str | None:
        """Refuses l1, where this version has no such parameter."""
        if problem.l1 and "l1" not in LogisticRegression().get_params():
            return "no l1 in this version"
        return None

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """A fit to that tolerance."""
        model = certified(problem, LogisticRegression().tol if budget is None else budget)
        certificate, passes = model.certificate_, float(model.n_iter_)
        ended, settled = f"{certificate.status}, {passes:.3g} passes", certificate.status is Status.SEPARATED
        return Fit(model.coef_, model.intercept_, ended, settled, certificate.relative_bound, passes)
