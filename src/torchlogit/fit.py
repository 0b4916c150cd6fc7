"""fit: the one loop over a solver's steps. It certifies them, keeps the history and decides when to stop.

The solver yields a state after each step. A step from which a bound may follow is certified: a bound on F(w) - min F
is computed, or, where columns have no penalty, separation is looked for. The loop ends when the bound meets the goal,
separation is proved, a budget is spent, a monitor asks for it, or F no longer falls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from torch import Tensor

from torchlogit.certificate import Bound, features_are_free, newton_dual_bound, too_many_free
from torchlogit.checkpoints import Checkpoint, Checkpoints, CheckpointWriter, checkpoint_writer
from torchlogit.collinear import relations
from torchlogit.errors import DivergedError, InputError
from torchlogit.inference import MAX_PARAMETERS
from torchlogit.objective import Objective
from torchlogit.pure_columns import pure_columns
from torchlogit.records import (
    Answer,
    Certificate,
    FitProgress,
    FitResult,
    Monitor,
    Params,
    Relation,
    Separation,
    State,
    Status,
    Step,
    StopReason,
)
from torchlogit.separation import all_classified, find_separation
from torchlogit.solvers import Resumable, Solver
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

# A bound costs about a pass, so it is computed only where it may be small enough, judged by the gap F - min F that the
# solver expects. Larger ratios: more bounds that are not small enough; smaller ones: a certificate some steps later.
GAP_RATIO = 100.0  # expected gap / (tol F) up to which a bound is computed
BOUND_RATIO = 1.5  # expected bound / (tol F) up to which it is computed, where the solver predicts the bound itself
# Expected gap / F up to which a bound is computed while the classes may be separated. Where there is none, separation
# is looked for. Larger: it is found earlier, and more bounds are computed that are not needed.
SEPARABLE_GAP = 1e-4
NEGLIGIBLE_GAP = 1e-10  # expected gap / F below which no further step is of use, whatever the tolerance
STALLED_STEPS = 4  # Newton steps without any decrease of F, after which rounding is all that is left
PROBES = 30  # the most Newton steps that are spent on bounding the gap of another solver's answer
RESOLVED = 1e-13  # bound / F up to which F counts as the least that float64 can tell apart: some hundred roundings
POLISHING = 8  # the most Newton steps after a dual method that ended near the optimum
LEVEL = 0.99  # new bound / best bound so far, above which no further Newton step is probed; smaller: fewer probes


@dataclass(frozen=True, slots=True)
class Goal:
    """When a fit stops.

    Parameters
    ----------
    tol : float
        The bound on F - min F that is asked for, relative to F.
    standard_errors : float, optional
        The largest sqrt(2 bound) that is also asked for: to second order it bounds the distance of every coefficient
        from its optimum, in standard errors.
    max_iter : float
        Passes over the rows.
    time_budget : float, optional
        Seconds.
    """

    tol: float = 1e-6
    standard_errors: float | None = None
    max_iter: float = 200
    time_budget: float | None = None

    def met(self, certificate: Certificate) -> bool:
        """Whether this certificate's bound is as small as asked for."""
        relative, errors = certificate.relative_bound, certificate.standard_errors
        if relative is None or errors is None or not relative <= self.tol or not math.isfinite(certificate.objective):
            return False
        return self.standard_errors is None or errors <= self.standard_errors

    def spent(self, step: Step) -> StopReason | None:
        """The budget that is spent after this step, or None."""
        if step.passes >= self.max_iter:
            return StopReason(f"the budget of {_passes(self.max_iter)} is spent")
        if self.time_budget is not None and step.seconds >= self.time_budget:
            return StopReason(f"the budget of {self.time_budget:g} seconds is spent")
        return None


BY_MONITOR = StopReason("stopped by a monitor")
INTERRUPTED = StopReason("interrupted")


def fit(
    objective: Objective,
    solver: Solver,
    goal: Goal | None = None,
    *,
    start: Params | None = None,
    monitors: Iterable[Monitor[FitProgress]] = (),
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """The best answer that the solver reaches within the goal's budget, with its certificate.

    Ctrl-C ends a fit as a spent budget does: the answer so far is returned.

    Parameters
    ----------
    objective : Objective
        F, which is minimised.
    solver : Solver
        Yields the steps.
    goal : Goal, optional
        When to stop.
    start : Params, optional
        The point to start from; the solver chooses one by default.
    monitors : iterable of Monitor
        Called after each step; one that returns True ends the fit.
    checkpoints : Checkpoints, optional
        The folder that the fit is kept in. A fit that was stopped or killed continues from there, with the same bits as
        if it had not been. If that fit had ended, its result is returned, unless the budget is larger now.

    Raises
    ------
    InputError
        Where the data cannot determine the coefficients and there is no penalty.
    CheckpointError
        Where the folder holds another fit, or a damaged one.

    Examples
    --------
    >>> import torch
    >>> from torchlogit.design import Dense
    >>> from torchlogit.losses import Logistic
    >>> from torchlogit.penalties import ElasticNet
    >>> x, y = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    >>> result = fit(Objective.of(Dense.of(x), y, loss=Logistic(), penalty=ElasticNet(l2=1.0)), StochasticNewton())
    >>> result.certificate.status, round(float(result.params.coef), 3)
    (<Status.CERTIFIED: 'certified'>, 0.453)
    """
    goal, monitors = goal or Goal(), tuple(monitors)
    _refuse_undetermined(objective)
    decisive = {"tol": goal.tol, "standard_errors": goal.standard_errors}  # results depend on these, not on budgets
    with checkpoint_writer(checkpoints, objective, solver, decisive, start) as writer:
        finished = writer.result if writer else None
        if writer and finished and (writer.checkpoint is None or goal.spent(finished.history[-1])):
            return finished
        result, can_continue = _run(objective, solver, goal, start, monitors, writer)
        if writer:
            writer.finish(result, can_continue)
        return result


def _run(
    objective: Objective,
    solver: Solver,
    goal: Goal,
    start: Params | None,
    monitors: tuple[Monitor[FitProgress], ...],
    writer: CheckpointWriter | None,
) -> tuple[FitResult, bool]:
    """The answer, and whether a fit with a larger budget would continue from it."""
    checkpoint = writer.checkpoint if writer else None
    certify = _Certifier(objective, goal, checkpoint.may_be_separated if checkpoint else None)
    history = list(checkpoint.history) if checkpoint else []
    latest = (checkpoint.state, checkpoint.certificate) if checkpoint else None
    best = checkpoint.answer if checkpoint else None
    began = time.perf_counter() - (history[-1].seconds if history else 0.0)
    reason, status = None, Status.BUDGET
    try:
        for state in _states(objective, solver, start, checkpoint):
            certificate = certify(state)
            _refuse_infinite(state, certificate)
            latest = state, certificate
            answer, before = Answer(state.params, certificate, state.passes), best
            best = _better(before, answer)
            history.append(Step(state.passes, time.perf_counter() - began, certificate.objective, certificate.bound))
            if writer:
                writer.record(Checkpoint.of(tuple(history), state, certificate, best, certify.may_be_separated))
            asked = [monitor(FitProgress(history[-1], state.params)) for monitor in monitors]
            reason = goal.spent(history[-1]) or (BY_MONITOR if any(asked) else None)
            if before is not None and goal.met(before.certificate):
                return _result(_more_exact(goal, before, answer), history), False
            if best.certificate.status is Status.SEPARATED:
                return _result(best, history), False
            if goal.met(best.certificate) and (reason or not _coefficients_are_read(objective, goal)):
                return _result(best, history), _coefficients_are_read(objective, goal)
            if reason is None and (reason := _stalled(objective, state, best, history)):
                status = Status.UNCERTIFIABLE
            if reason is not None:
                break
            if writer:
                writer.save_when_due()
    except KeyboardInterrupt:
        if latest is None:
            raise
        reason, status = INTERRUPTED, Status.BUDGET
    except DivergedError as error:
        return _diverged(objective, best, str(error), history), False
    assert latest is not None, "a solver yields at least one state"
    assert best is not None, "the latest, or one before it"
    can_continue = reason is not None and status is Status.BUDGET
    reason = reason or StopReason(f"the solver ended after {_passes(latest[0].passes)}")
    at_once = reason is INTERRUPTED
    best = certify.last(*latest, best, at_once=at_once)
    if status is Status.UNCERTIFIABLE and not isinstance(solver, StochasticNewton):
        best = certify.polished(best)
    if best.passes > history[-1].passes:
        seconds = time.perf_counter() - began
        history.append(Step(best.passes, seconds, best.certificate.objective, best.certificate.bound))
    if best.certificate.status is Status.SEPARATED or goal.met(best.certificate):
        return _result(best, history), at_once
    reason = replace(reason, remedy=_remedy(objective, solver, goal, best.certificate, status))
    return _result(best, history, status, reason), can_continue


def _refuse_infinite(state: State, certificate: Certificate) -> None:
    """DivergedError where F is not a finite number: no bound is of any use then."""
    if not math.isfinite(state.objective) or not math.isfinite(certificate.objective):
        raise DivergedError(
            f"the objective left the range of floats after {_passes(state.passes)}: lower the learning rate, if the "
            "solver has one, scale the columns, or use the default solver"
        )


def _better(best: Answer | None, answer: Answer) -> Answer:
    """The answer of the smaller bound; the later one where neither has a bound, or where the classes are separated."""
    if best is None or answer.certificate.status is Status.SEPARATED:
        return answer
    bound, least = answer.certificate.bound, best.certificate.bound
    return answer if least is None or (bound is not None and bound <= least) else best


def _coefficients_are_read(objective: Objective, goal: Goal) -> bool:
    """Whether there will be standard errors. Then one more step is taken after the goal was met.

    Newton steps square the distance from the optimum: after one more the digits that are printed are right.
    """
    return goal.standard_errors is not None and objective.n_parameters <= MAX_PARAMETERS


def _more_exact(goal: Goal, met: Answer, later: Answer) -> Answer:
    """The answer after one more step, if it meets the goal too, and F is no higher or its bound is smaller."""
    lower = later.certificate.objective <= met.certificate.objective
    return later if goal.met(later.certificate) and (lower or _better(met, later) is later) else met


def _result(
    answer: Answer, history: list[Step], status: Status = Status.CERTIFIED, reason: StopReason | None = None
) -> FitResult:
    """The result with this answer. reason: why the fit ended without meeting its goal."""
    certificate = answer.certificate
    if reason is not None and answer.passes < history[-1].passes:
        kept = f"the step with the smallest bound, after {_passes(answer.passes)}, is kept"
        reason = replace(reason, answer=kept)
    if certificate.status is not Status.SEPARATED:
        certificate = replace(certificate, status=status, reason=reason)
    return FitResult(answer.params, certificate, tuple(history))


def _states(
    objective: Objective, solver: Solver, start: Params | None, checkpoint: Checkpoint | None
) -> Iterator[State]:
    """The solver's states from the start, or those that follow the checkpoint."""
    if checkpoint is None:
        return solver.iterates(objective, start)
    assert isinstance(solver, Resumable)
    return solver.resumed(objective, checkpoint.snapshot)


def _diverged(objective: Objective, best: Answer | None, cause: str, history: list[Step]) -> FitResult:
    """The last state whose numbers were finite, or the empty model where there is none."""
    theta = objective.start()
    params = best.params if best else objective.params(theta)
    value = best.certificate.objective if best else objective.value(theta, objective.raw(theta))
    return FitResult(params, Certificate(Status.DIVERGED, value, None, reason=StopReason(cause)), tuple(history))


class _Certifier:
    """Certifies states: computes a dual bound, or proves separation.

    The linear program that finds separation is solved at most once, unless a state classifies every row. If it finds
    none, `may_be_separated` becomes False, and it is not solved again. Where the parameters are too many for it, the
    first state is looked at for columns that separate the classes alone.
    """

    def __init__(self, objective: Objective, goal: Goal, may_be_separated: bool | None) -> None:
        self.objective, self.goal = objective, goal
        self._wide = may_be_separated is None and too_many_free(objective)
        if may_be_separated is None:
            may_be_separated = features_are_free(objective) and not too_many_free(objective)
        self.may_be_separated = may_be_separated

    def __call__(self, state: State) -> Certificate:
        """The state's certificate, without a bound where none would be small enough yet."""
        if separation := self._complete_separation(state) or self._pure_columns():
            return _separated(state, separation)
        if state.dual_residual is None or not self._worth_a_bound(state):
            return Certificate(Status.BUDGET, state.objective, None)
        return self._bound(state)

    def last(self, state: State, certificate: Certificate, best: Answer, *, at_once: bool) -> Answer:
        """The best answer once the steps have ended, with the bound or separation that was not looked for on the way.

        Where the solver does not estimate its distance from the optimum, a few Newton steps bound it, unless there is a
        time budget, or the fit has to end `at_once`.
        """
        if state.expected_gap is None and self.goal.time_budget is None and not at_once:
            certificate = self._measured(state)
        if state.expected_bound is not None and state.dual_residual is not None and certificate.bound is None:
            certificate = self._bound(state)
        unknown = best.certificate.bound is None and certificate.bound is None
        if unknown and self.goal.time_budget is None and not at_once:
            separation = certificate.separation or self._separation(state)
            certificate = _separated(state, separation) if separation else certificate
        return _better(best, Answer(state.params, certificate, state.passes))

    def _worth_a_bound(self, state: State) -> bool:
        """Whether a bound computed now may be small enough, or its absence a sign of separation."""
        if state.expected_bound is not None:
            return state.expected_bound <= BOUND_RATIO * self.goal.tol * state.objective
        if state.expected_gap is None:
            return True
        limit = max(GAP_RATIO * self.goal.tol, SEPARABLE_GAP if self.may_be_separated else NEGLIGIBLE_GAP)
        return state.expected_gap <= limit * state.objective

    def _bound(self, state: State) -> Certificate:
        """The bound from the state's dual point, or the separation of the classes where it has none."""
        assert state.dual_residual is not None
        bound = self._bound_at(self.objective.theta(state.params), state.dual_residual, state.objective)
        if bound.value is None and (separation := self._separation(state)):
            return _separated(state, separation)
        return _bounded(bound)

    def _bound_at(self, theta: Tensor, dual_residual: Tensor, value: float) -> Bound:
        """The bound at theta. No further passes are spent on it once it is as small as the goal asks."""
        errors = self.goal.standard_errors
        enough = min(self.goal.tol * value, math.inf if errors is None else 0.5 * errors * errors)
        return newton_dual_bound(
            self.objective, theta, dual_residual, enough=enough, collinear=lambda: self._relations
        )

    @cached_property
    def _relations(self) -> tuple[Relation, ...]:
        """The relations among columns without a penalty: looked for where a bound meets a singular Hessian."""
        return relations(self.objective)

    def _complete_separation(self, state: State) -> Separation | None:
        """The separation where this state classifies every row."""
        if not self.may_be_separated or state.raw is None or not all_classified(self.objective, state.raw):
            return None
        return find_separation(self.objective, state.raw)

    def _pure_columns(self) -> Separation | None:
        """The columns that separate the classes alone; they are looked for once, where there are too many for more."""
        wide, self._wide = self._wide, False
        return pure_columns(self.objective) if wide else None

    def _separation(self, state: State) -> Separation | None:
        """The separation of the classes, or None. It is looked for where a state has no bound."""
        if not self.may_be_separated or state.raw is None:
            return None
        found = find_separation(self.objective, state.raw)
        self.may_be_separated = found is not None
        return found

    def _measured(self, state: State) -> Certificate:
        """The certificate of this state by the dual points of Newton steps from it, until the bound stops falling."""
        objective, goal = self.objective, self.goal
        theta, best = objective.theta(state.params), Bound(None, state.objective)
        for probe in islice(StochasticNewton(aim=goal.tol).iterates(objective, state.params), PROBES):
            certificate = self(probe)
            if certificate.status is Status.SEPARATED:
                return replace(certificate, objective=state.objective)
            if probe.dual_residual is None:
                continue
            bound = self._bound_at(theta, probe.dual_residual, state.objective)
            if bound.value is None:
                continue
            levelled_off = best.value is not None and bound.value > LEVEL * best.value
            best = bound if best.value is None or bound.value < best.value else best
            if levelled_off or goal.met(_bounded(best)):
                break
        return _bounded(best)

    def polished(self, best: Answer) -> Answer:
        """The best answer of a few Newton steps from this one, until one meets the goal; unless there is a time budget.

        A dual method whose objective no longer falls ends some digits before Newton's method does.
        """
        if self.goal.time_budget is not None:
            return best
        begun = best.passes
        for state in islice(StochasticNewton(aim=self.goal.tol).iterates(self.objective, best.params), POLISHING):
            best = _better(best, Answer(state.params, self(state), begun + state.passes))
            if self.goal.met(best.certificate):
                break
        return best


def _passes(number: float) -> str:
    return f"{number:g} pass{'es' * (number != 1)}"


def _refuse_undetermined(objective: Objective) -> None:
    """InputError where there are more columns than rows, no penalty, and too many parameters to look for separation.

    With fewer parameters the fit finds out which columns separate the classes.
    """
    n, p = objective.design.shape
    if n < p and bool((objective.precision == 0).all()) and objective.penalty.smooth and too_many_free(objective):
        raise InputError(
            f"X has {objective.n_features:,} columns, more than its {n:,} rows, and no penalty: "
            "no finite coefficients fit best, or infinitely many do; use a penalty (l2 > 0)"
        )


def _stalled(objective: Objective, state: State, best: Answer, history: list[Step]) -> StopReason | None:
    """Why no further step is of use, or None.

    Either the expected gap is negligible, and the parameters are too many for a bound. Or F has not fallen for several
    Newton steps: further changes would be rounding.
    """
    done = state.expected_gap is not None and state.expected_gap <= NEGLIGIBLE_GAP * state.objective
    if done and too_many_free(objective):
        return StopReason("probably the optimum, but no bound is computed for so many columns without a penalty")
    if state.dual_residual is None or len(history) <= STALLED_STEPS:
        return None
    if state.expected_bound is not None and state.expected_bound > NEGLIGIBLE_GAP * state.objective:
        return None  # a dual method: F may rise, and it has converged once its duality gap is small
    if history[-1].objective < history[-1 - STALLED_STEPS].objective:
        return None
    relative = best.certificate.relative_bound
    resolved = relative is not None and relative <= RESOLVED
    return StopReason(f"the objective no longer falls{': it is the least that float64 can tell apart' * resolved}")


def _remedy(objective: Objective, solver: Solver, goal: Goal, certificate: Certificate, status: Status) -> str:
    """What would help a fit that did not meet its goal, a sentence without full stop; empty if nothing would."""
    if status is Status.BUDGET:
        other = "" if isinstance(solver, StochasticNewton) else ", or use solver='newton'"
        return f"Give it more passes (max_iter) or time{other}"
    reached = certificate.relative_bound
    if reached is not None and reached < 1:
        met = reached <= goal.tol
        return "" if met else f"The bound that was reached meets tol={1.06 * reached:.1e}"  # two digits, rounded up
    if features_are_free(objective):
        return "A small penalty (l2 > 0) on every column would make a bound possible"
    return ""


def _bounded(bound: Bound) -> Certificate:
    known = bound.value is not None and math.isfinite(bound.value)
    return Certificate(Status.BUDGET, bound.objective, bound.value if known else None, collinear=bound.collinear)


def _separated(state: State, separation: Separation) -> Certificate:
    return Certificate(Status.SEPARATED, state.objective, None, separation)
