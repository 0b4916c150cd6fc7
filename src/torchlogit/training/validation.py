"""Validation: a monitor that measures a fit on other rows; and certificates for points other than the last one."""

from __future__ import annotations

from dataclasses import replace

from torchlogit.certificate import value_rounding
from torchlogit.objective import Objective
from torchlogit.records import Certificate, FitProgress, FitResult, Params, Status
from torchlogit.training.fitted import ValidationStep
from torchlogit.training.problem import Problem
from torchlogit.training.rows import LabelledRows

PATIENCE = 5  # the fit ends after this many steps without a lower log loss on the validation rows; more wait longer


class Validation:
    """Measures every step on the validation rows, remembers the best, and ends the fit PATIENCE steps after it."""

    def __init__(self, problem: Problem, others: LabelledRows) -> None:
        self.objective, self.training = problem.losses_of(others), problem.objective
        self.history = list[ValidationStep]()
        self.best: FitProgress | None = None
        self.lowest_loss = float("inf")
        self.steps_since_best = 0

    def __call__(self, progress: FitProgress) -> bool:
        """Measures a step; returns whether the fit should end."""
        step = progress.step
        loss = value_at(self.objective, progress.params) / self.objective.total_weight
        self.history.append(ValidationStep(step.passes, step.seconds, loss))
        if self.best is None or loss < self.lowest_loss:
            self.best, self.lowest_loss, self.steps_since_best = progress, loss, 0
        else:
            self.steps_since_best += 1
        return self.wants_to_stop

    @property
    def wants_to_stop(self) -> bool:
        """Whether the log loss has not fallen for PATIENCE steps."""
        return self.steps_since_best >= PATIENCE

    def best_of(self, result: FitResult) -> FitResult:
        """The result, or if it ended with status "budget", the best step on the validation rows."""
        best = self.best
        if best is None or result.certificate.status is not Status.BUDGET or not self.steps_since_best:
            return result
        reason = result.certificate.reason
        assert reason is not None, "a fit that is not certified has a reason to end"
        reason = replace(reason, answer=f"the best step on eval_set, after {best.step.passes:g} passes, is kept")
        if self.wants_to_stop:
            reason = replace(reason, cause=f"stopped early: no better log loss on eval_set in {PATIENCE} steps")
        certificate = replace(certificate_at(self.training, best.params, result), reason=reason)
        return replace(result, params=best.params, certificate=certificate)


def no_worse(result: FitResult, objective: Objective, start: Params) -> FitResult:
    """The result, or the start if F is lower there; a result with status "separated" is kept."""
    if result.certificate.objective <= value_at(objective, start) or result.certificate.status is Status.SEPARATED:
        return result
    return replace(result, params=start, certificate=certificate_at(objective, start, result))


def certificate_at(objective: Objective, params: Params, result: FitResult) -> Certificate:
    """The certificate of another point v than the result's w: F(v) - min F = F(v) - F(w) + F(w) - min F."""
    certificate, value = result.certificate, value_at(objective, params)
    if certificate.bound is None:
        return replace(certificate, objective=value)
    rounding = value_rounding(objective, objective.theta(params), value)
    rounding += value_rounding(objective, objective.theta(result.params), certificate.objective)
    bound = max(0.0, certificate.bound + value - certificate.objective) + rounding
    return replace(certificate, objective=value, bound=bound)


def value_at(objective: Objective, params: Params) -> float:
    """F at a point."""
    theta = objective.theta(params)
    return objective.value(theta, objective.raw(theta))
