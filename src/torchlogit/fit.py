"""fit: the one loop. It consumes a solver's iterates, certifies them, keeps the history and decides when to stop."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from torchlogit.certificate import Bound, features_are_free, newton_dual_bound, too_many_free
from torchlogit.checkpoints import Checkpoints, Keeper, Place, keeper
from torchlogit.errors import DivergedError, InputError
from torchlogit.objective import Objective
from torchlogit.records import (
    Certificate,
    FitProgress,
    FitResult,
    Monitor,
    Params,
    Separation,
    State,
    Status,
    Step,
    StopReason,
)
from torchlogit.separation import all_classified, find_separation
from torchlogit.solvers import Resumable, Solver
from torchlogit.solvers.newton.stochastic_newton import StochasticNewton

WORTH_CERTIFYING = 100.0  # a step that promises this many times the tolerance may already have reached it
NEARLY = 1.5  # a bound that is expected to be this many times the tolerance is worth a look
WORTH_DOUBTING = 1e-4  # a step that promises this share of F and yet gives no bound may be on its way to infinity
ROUNDED = 1e-10  # and one that promises this little will do no better, whatever the tolerance
STALLED = 4  # steps in a row without any decrease: rounding is all that is left
PROBES = 30  # Newton steps spent on measuring another solver's answer


@dataclass(frozen=True, slots=True)
class Goal:
    """When to stop. tol: bound <= tol * F. standard_errors: and sqrt(2 bound) no more than this, where given.

    max_iter: passes over the rows. time_budget: seconds.
    """

    tol: float = 1e-6
    standard_errors: float | None = None
    max_iter: float = 200
    time_budget: float | None = None

    def met(self, certificate: Certificate) -> bool:
        """Whether this certificate's bound is as small as asked for."""
        relative, errors = certificate.relative_bound, certificate.standard_errors
        if relative is None or errors is None or not relative <= self.tol:
            return False
        return self.standard_errors is None or errors <= self.standard_errors

    def spent(self, step: Step) -> StopReason | None:
        """The budget that has run out, or None."""
        if step.passes >= self.max_iter:
            return StopReason(f"the budget of {_passes(self.max_iter)} is spent")
        if self.time_budget is not None and step.seconds >= self.time_budget:
            return StopReason(f"the budget of {self.time_budget:g} seconds is spent")
        return None


ON_REQUEST = StopReason("stopped by a monitor")
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
    """The best answer that the solver reached within the goal's budget, with its certificate.

    A monitor is called after each step and stops the fit by returning True. Ctrl-C stops it too: the answer so
    far is returned with the bound it has. With checkpoints a fit that was stopped, or killed, goes on to the same bits;
    one that has ended is returned as it was, unless its budget is larger now.

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
    exact = {"tol": goal.tol, "standard_errors": goal.standard_errors}
    with keeper(checkpoints, objective, solver, exact, start) as kept:
        known = kept.found.result
        if known is not None and (kept.found.place is None or goal.spent(known.history[-1])):
            return known
        result, goes_on = _fitted(objective, solver, goal, start, monitors, kept)
        kept.ended(result, goes_on)
        return result


def _fitted(
    objective: Objective,
    solver: Solver,
    goal: Goal,
    start: Params | None,
    monitors: tuple[Monitor[FitProgress], ...],
    kept: Keeper,
) -> tuple[FitResult, bool]:
    """The answer, and whether the fit would continue with a larger budget. Resumes from a checkpoint where one is."""
    place, reason, status = kept.found.place, None, Status.BUDGET
    history = list(place.history) if place else []
    latest = (place.state, place.certificate) if place else None
    examine = _Examiner(objective, goal, place.may_be_separated if place else None)
    began = time.perf_counter() - (history[-1].seconds if history else 0.0)
    try:
        for state in _states(objective, solver, start, place):
            certificate = examine(state)
            latest = state, certificate
            history.append(Step(state.passes, time.perf_counter() - began, certificate.objective, certificate.bound))
            kept.note(Place(tuple(history), state, certificate, examine.may_be_separated))
            asked = [monitor(FitProgress(history[-1], state.params)) for monitor in monitors]
            if certificate.status is Status.SEPARATED or goal.met(certificate):
                return FitResult(state.params, _achieved(certificate), tuple(history)), False
            reason = goal.spent(history[-1]) or (ON_REQUEST if any(asked) else None)
            if reason is None and (reason := _stalled(objective, state, history)):
                status = Status.UNCERTIFIABLE
            if reason is not None:
                break
            kept.save_when_due()
    except KeyboardInterrupt:
        if latest is None:
            raise
        reason = INTERRUPTED
    except DivergedError as error:
        return _diverged(objective, latest, str(error), history), False
    assert latest is not None, "a solver yields at least one state"
    state, certificate = latest
    goes_on = reason is not None and status is Status.BUDGET
    reason = reason or StopReason(f"the solver ended after {_passes(state.passes)}")
    if state.expected_gap is None and goal.time_budget is None and reason is not INTERRUPTED:
        certificate = _measured(objective, state, goal, examine)  # the solver cannot tell how far it is
    if state.expected_bound is not None and state.dual_residual is not None and certificate.bound is None:
        certificate = examine.bound(state)
    if certificate.status is Status.SEPARATED or goal.met(certificate):
        return FitResult(state.params, _achieved(certificate), tuple(history)), False
    return FitResult(state.params, replace(certificate, status=status, reason=reason), tuple(history)), goes_on


def _states(objective: Objective, solver: Solver, start: Params | None, place: Place | None) -> Iterator[State]:
    """The solver's states, from the start or after the place where a fit was."""
    if place is None:
        return solver.iterates(objective, start)
    assert isinstance(solver, Resumable)
    assert place.state.snapshot is not None
    return solver.resumed(objective, place.state.snapshot())


def _diverged(
    objective: Objective, latest: tuple[State, Certificate] | None, words: str, history: list[Step]
) -> FitResult:
    """The last state whose numbers were finite: the start, where there is none."""
    params = latest[0].params if latest else objective.params(objective.start())
    value = latest[1].objective if latest else float("nan")
    return FitResult(params, Certificate(Status.DIVERGED, value, None, reason=StopReason(words)), tuple(history))


class _Examiner:
    """What can be said of a state: a bound, a separation, or nothing yet. Asks the costly question once."""

    def __init__(self, objective: Objective, goal: Goal, may_be_separated: bool | None) -> None:
        self.objective, self.goal = objective, goal
        if may_be_separated is None:
            may_be_separated = features_are_free(objective) and not too_many_free(objective)
        self.may_be_separated = may_be_separated

    def __call__(self, state: State) -> Certificate:
        if separation := self.complete_separation(state):
            return _separated(state, separation)
        if state.dual_residual is None or not self.worth_certifying(state):
            return Certificate(Status.BUDGET, state.objective, None)
        return self.bound(state)

    def bound(self, state: State) -> Certificate:
        """The bound from the state's dual point, or the separation that there is instead."""
        assert state.dual_residual is not None
        bound = newton_dual_bound(self.objective, self.objective.theta(state.params), state.dual_residual)
        if bound.value is None and (separation := self.separation(state)):
            return _separated(state, separation)
        return _bounded(bound)

    def worth_certifying(self, state: State) -> bool:
        """Whether a bound computed now may be small enough, or its absence telling."""
        if state.expected_bound is not None:
            return state.expected_bound <= NEARLY * self.goal.tol * state.objective
        if state.expected_gap is None:
            return True
        limit = max(WORTH_CERTIFYING * self.goal.tol, WORTH_DOUBTING if self.may_be_separated else ROUNDED)
        return state.expected_gap <= limit * state.objective

    def complete_separation(self, state: State) -> Separation | None:
        """The separation, where this state already classifies every row."""
        if not self.may_be_separated or state.raw is None or not all_classified(self.objective, state.raw):
            return None
        return find_separation(self.objective, state.raw)

    def separation(self, state: State) -> Separation | None:
        """The separation that a state without a bound is running towards; looked for once."""
        if not self.may_be_separated or state.raw is None:
            return None
        found = find_separation(self.objective, state.raw)
        self.may_be_separated = found is not None
        return found


def _measured(objective: Objective, state: State, goal: Goal, examine: _Examiner) -> Certificate:
    """The certificate of another solver's last state: bounds from Newton's dual points, until they stop falling."""
    theta, best = objective.theta(state.params), Bound(None, state.objective)
    for probe in islice(StochasticNewton(aim=goal.tol).iterates(objective, state.params), PROBES):
        seen = examine(probe)
        if seen.status is Status.SEPARATED:
            return replace(seen, objective=state.objective)
        if probe.dual_residual is None:
            continue
        bound = newton_dual_bound(objective, theta, probe.dual_residual)
        if bound.value is None:
            continue
        settled = best.value is not None and bound.value > 0.99 * best.value
        best = bound if best.value is None or bound.value < best.value else best
        if settled or goal.met(_bounded(best)):
            break
    return _bounded(best)


def _passes(number: float) -> str:
    return f"{number:g} pass{'es' * (number != 1)}"


def _refuse_undetermined(objective: Objective) -> None:
    """Where columns outnumber rows and nothing holds them, no coefficients are the best: said at once where p is large.

    Of few columns it is found out which of them separate the classes.
    """
    n, p = objective.design.shape
    if n < p and bool((objective.precision() == 0).all()) and objective.penalty.smooth and too_many_free(objective):
        raise InputError(
            f"X has {p - objective.design.has_intercept:,} columns, more than its {n:,} rows, and no penalty holds "
            f"them: no finite coefficients fit best, or many do; use a penalty (l2 > 0)"
        )


def _stalled(objective: Objective, state: State, history: list[Step]) -> StopReason | None:
    """Rounding is all that is left: F has not fallen for several of Newton's steps, and the goal is not met.

    Or all that can be done is: what a step promises is next to nothing, and a bound cannot be had.
    """
    done = state.expected_gap is not None and state.expected_gap <= ROUNDED * state.objective
    if done and too_many_free(objective):
        return StopReason("the optimum, to all appearances, but without a penalty on so many columns")
    if state.dual_residual is None or len(history) <= STALLED:
        return None
    if state.expected_bound is not None and state.expected_bound > ROUNDED * state.objective:
        return None  # a dual method is not done before its gap is: F itself may rise on its way
    if history[-1].objective < history[-1 - STALLED].objective:
        return None
    return StopReason("the objective no longer falls: this is the best that float64 can tell apart")


def _bounded(bound: Bound) -> Certificate:
    return Certificate(Status.BUDGET, bound.objective, bound.value)


def _achieved(certificate: Certificate) -> Certificate:
    """The certificate of a fit that met its goal, or proved separation."""
    return certificate if certificate.status is Status.SEPARATED else replace(certificate, status=Status.CERTIFIED)


def _separated(state: State, separation: Separation) -> Certificate:
    return Certificate(Status.SEPARATED, state.objective, None, separation)
