"""What looks on while a solver works, and may end it: the user's validation set, scikit-learn's callbacks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_consistent_length

from torchlogit.errors import InputError
from torchlogit.estimator.inputs import as_array, read, validated
from torchlogit.estimator.problem import Array, Rows, canonical, weights
from torchlogit.estimator.targets import checked_among
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, FitResult, Params, State, Status
from torchlogit.solvers import Solver

PATIENCE = 5  # steps without a better log loss on the validation set before it ends the fit

EvalSet = tuple[Any, Any] | tuple[Any, Any, ArrayLike]


class Observer(Protocol):
    """What is shown the states of a fit."""

    def __call__(self, state: State) -> bool:
        """Whether it has seen enough."""
        ...

    @property
    def asked(self) -> bool:
        """Whether it asked for the end."""
        ...

    def chosen(self, result: FitResult) -> FitResult:
        """The result of the fit, as the observer would have it."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """A solver whose states are shown to observers, and which ends once one of them has seen enough."""

    solver: Solver
    observers: Sequence[Observer]

    def iterates(self, objective: Objective, start: Params | None) -> Iterator[State]:
        """The solver's states."""
        for state in self.solver.iterates(objective, start):
            enough = [observer(state) for observer in self.observers]
            yield state
            if any(enough):
                return


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One line of eval_history_: the mean log loss on eval_set after so many passes, seconds since the fit began."""

    passes: float
    seconds: float
    log_loss: float


class Validation:
    """An observer that measures every state on other rows, remembers the best, and ends what no longer improves.

    objective: of the other rows, without a penalty; their columns are not centred, as those of the fit may be.
    """

    def __init__(self, objective: Objective, center: torch.Tensor) -> None:
        self.objective, self.center = objective, center
        self.began, self.history = time.perf_counter(), list[Evaluation]()
        self.best: State | None = None
        self.least = float("inf")
        self.waited = 0

    @classmethod
    def beside(cls, fitted: Objective, others: Rows, center: Array) -> Validation:
        """One that measures on other rows where, and with an intercept where, the objective of a fit has it."""
        device = fitted.target.device
        objective = others.objective(ElasticNet(), fitted.design.has_intercept, device)
        return cls(objective, torch.from_numpy(center).to(device))

    def __call__(self, state: State) -> bool:
        params = uncentred(state.params, self.center)
        theta = self.objective.theta(params)
        loss = self.objective.value(theta, self.objective.raw(theta)) / self.objective.total_weight
        self.history.append(Evaluation(state.passes, time.perf_counter() - self.began, loss))
        better = self.best is None or loss < self.least
        if better:
            self.best, self.least = replace(state, raw=None, dual_residual=None), loss
        self.waited = 0 if better else self.waited + 1
        return self.waited >= PATIENCE

    def chosen(self, result: FitResult) -> FitResult:
        """The result where it is certified, or separated; else the best state, with what the bound there says of it."""
        kept = self.best
        if kept is None or result.certificate.status is not Status.BUDGET or not self.waited:
            return result
        assert result.certificate.reason is not None, "a fit that is not certified has a reason to end"
        reason = replace(
            result.certificate.reason, answer=f"the best step on eval_set, after {kept.passes:g} passes, is kept"
        )
        if self.asked:
            reason = replace(reason, cause=f"stopped early: no better log loss on eval_set in {PATIENCE} steps")
        certificate = replace(at(result.certificate, kept.objective), reason=reason)
        return replace(result, params=kept.params, certificate=certificate)

    @property
    def asked(self) -> bool:
        """Whether this observer ended the fit."""
        return self.waited >= PATIENCE


def others_of(estimator: Any, eval_set: EvalSet, classes: NDArray[Any]) -> Rows:
    """The rows of eval_set, their columns checked against those that the estimator is being fitted on."""
    if not isinstance(eval_set, tuple) or len(eval_set) not in (2, 3):
        raise InputError("eval_set: expected a tuple, (X, y) or (X, y, sample_weight); give one such set of rows")
    X, y, weight = (*eval_set, None)[:3]
    given = read(X, y, tuple(getattr(estimator, "feature_names_in_", ())))
    features = canonical(validated(estimator, given, reset=False))
    check_consistent_length(features, given.y)
    counts = weights(as_array(weight), features.shape[0])
    return Rows(features, checked_among(given.y, classes), counts, counts)


def uncentred(params: Params, center: torch.Tensor) -> Params:
    """The coefficients and intercept for columns whose means have not been subtracted."""
    return Params(params.coef, params.intercept - center.to(params.coef) @ params.coef)


def at(certificate: Certificate, objective: float) -> Certificate:
    """The certificate of another point, of which F is known: F(v) - min F = F(v) - F(w) + F(w) - min F."""
    if certificate.bound is None:
        return replace(certificate, objective=objective)
    rounding = 4 * torch.finfo(torch.float64).eps * (abs(objective) + abs(certificate.objective))
    bound = max(0.0, certificate.bound + objective - certificate.objective) + rounding
    return replace(certificate, objective=objective, bound=bound)


def no_worse(result: FitResult, objective: Objective, start: Params) -> FitResult:
    """The result, or the start, where F is lower there."""
    value = value_at(objective, start)
    if result.certificate.objective <= value or result.certificate.status is Status.SEPARATED:
        return result
    return replace(result, params=start, certificate=at(result.certificate, value))


def value_at(objective: Objective, params: Params) -> float:
    """F at a point."""
    theta = objective.theta(params)
    return objective.value(theta, objective.raw(theta))
