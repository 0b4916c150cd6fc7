"""The measurement: all peers in one process, judged by one independent implementation of F.

First each peer runs once with each of its budgets, the smallest first, until it settles or a larger budget would take
too long. Then the runs that may be the fastest to an accuracy are repeated in turn, and the median of their times
counts. Rows in float32 and in float64 are both tried, and the better result counts. A run takes too long if it takes
more than a given number of seconds, more than five times as long as the fastest so far to the finest accuracy, or more
than twice as long as the peer's own fastest to it. So the tables do not tell how slow the slowest are in the end. The
second precision starts with the budget with which the first one reached the coarsest accuracy, or with its last one.

Accuracy is (F - F*) / F*. F* is the lower bound that a torchlogit certificate proves at a tolerance of 1e-12; where
there is no such proof it is the least F that any peer reached.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
import scipy.sparse
import torch
from threadpoolctl import threadpool_limits

from benchmarks.memory import peak_beyond, plain_read
from benchmarks.peers import PEERS, PRECISIONS, Fit, Peer, certified
from benchmarks.problems import Array, Problem, synthetic

LEVELS = (1e-3, 1e-6)  # accuracies, for which the times are reported
REFERENCE_TOL = 1e-12
REFERENCE_SECONDS = 60.0  # for the fit that gives F*
PROOF = LEVELS[-1] / 100  # a bound this close to F, relative, serves as F*
WORTH_REPEATING = 4.0  # a run that took this many times as long as the fastest one to a level is not repeated
# A run is not tried if it would take longer than all of: this many times the fastest so far to the finest level or this
# many times the peer's own fastest to it, whichever is less, and this many seconds.
PATIENCE, WORTH_FINISHING, SHORT = 5.0, 2.0, 1.0
ROUNDING = 1e-13  # relative difference of two evaluations of F
BLOCK_ENTRIES = 1 << 22  # entries of X that are converted to float64 at once
READINGS_PER_PASS = 2  # a product with X, and one with X'

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judgement:
    """F in nats, and the share of rows whose class is predicted."""

    objective: float
    accuracy: float


def judge(problem: Problem, coef: Array, intercept: Array) -> Judgement:
    """F and accuracy in float64, from coef (1 or K, p) and intercept (1 or K,) alone."""
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        return Judgement(float("inf"), float("nan"))
    losses, right = 0.0, 0
    rows = max(1, BLOCK_ENTRIES * len(problem.y) // problem.values.size)
    for start in range(0, len(problem.y), rows):
        y = problem.y[start : start + rows]
        raw = problem.X[start : start + rows].astype(np.float64) @ coef.T + intercept
        if raw.shape[1] == 1:
            raw = np.hstack([np.zeros_like(raw), raw])
        top = raw.max(axis=1)
        total = np.log(np.exp(raw - top[:, None]).sum(axis=1))
        losses += float((total + (top - raw[np.arange(len(y)), y])).sum())
        right += int((raw.argmax(axis=1) == y).sum())
    penalty = problem.l1 * float(np.abs(coef).sum()) + problem.l2 / 2 * float((coef**2).sum())
    return Judgement(losses + penalty, right / len(problem.y))


@dataclass(frozen=True)
class Run:
    """The result of one peer with one budget (None: its default settings) in one precision.

    seconds: of each repetition. cut: larger budgets were not tried, because they would have taken too long.
    """

    peer: str
    budget: float | None
    precision: str
    objective: float
    accuracy: float
    seconds: list[float]
    ended: str
    warned: tuple[str, ...]
    relative_bound: float | None
    passes: float | None
    settled: bool
    cut: bool = False


@dataclass(frozen=True)
class Outcome:
    """A peer's row of the table: seconds to each level, and the result of its largest budget.

    Seconds are None where the level was not reached. gave_up: the seconds of its last run, where larger budgets were
    not tried; None where all were.
    """

    peer: str
    seconds_to: dict[float, float | None]
    gave_up: float | None
    suboptimality: float
    relative_bound: float | None
    ended: str
    warned: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """The use of memory by a peer that counts its passes, in its fastest run to the finest level it reached.

    share: its bytes read per second over those of a plain read of X. peak: bytes beyond X; None if not on Linux.
    """

    peer: str
    precision: str
    passes: float
    seconds: float
    bytes_read: float
    share: float
    peak: int | None


@dataclass(frozen=True)
class Measured:
    """The results for a problem. optimum: F*. proven: whether F* is a proven lower bound.

    refused: by peer, why it cannot fit it. plain_read: memory bandwidth by precision. peaks: by peer, bytes beyond X.
    sizes: bytes of X by precision.
    """

    problem: str
    description: str
    n_rows: int
    n_features: int
    optimum: float
    proven: bool
    runs: list[Run] = field(default_factory=list)
    default_runs: list[Run] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    plain_read: dict[str, float] = field(default_factory=dict)
    peaks: dict[str, int | None] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def suboptimality(self, run: Run) -> float:
        """(F - F*) / F*."""
        return (run.objective - self.optimum) / self.optimum

    def reached(self, peer: str, level: float) -> list[Run]:
        """The runs of a peer that reached this accuracy."""
        return [run for run in self.runs if run.peer == peer and self.suboptimality(run) <= level]

    def outcome(self, peer: str) -> Outcome:
        """The table's row for a peer."""
        seconds = {
            level: min((median(run.seconds) for run in self.reached(peer, level)), default=None) for level in LEVELS
        }
        series = [[run for run in self.runs if run.peer == peer and run.precision == p] for p in PRECISIONS]
        ends = [runs[-1] for runs in series if runs]
        gave_up = min((median(run.seconds) for run in ends if run.cut), default=None)
        last = min(ends, key=lambda run: run.objective)
        return Outcome(peer, seconds, gave_up, self.suboptimality(last), last.relative_bound, last.ended, last.warned)

    def fastest(self, peer: str) -> Run | None:
        """A peer's fastest run to the finest level it reached; None if it reached none."""
        for level in reversed(LEVELS):
            if reached := self.reached(peer, level):
                return min(reached, key=lambda run: median(run.seconds))
        return None

    def readings(self) -> list[Reading]:
        """The use of memory of the peers that count their passes."""
        fastest = (self.fastest(peer) for peer in dict.fromkeys(run.peer for run in self.runs))
        return [self._reading(run, run.passes) for run in fastest if run is not None and run.passes is not None]

    def _reading(self, run: Run, passes: float) -> Reading:
        seconds = median(run.seconds)
        read = READINGS_PER_PASS * passes * self.sizes[run.precision]
        share = read / seconds / self.plain_read[run.precision]
        return Reading(run.peer, run.precision, passes, seconds, read, share, self.peaks.get(run.peer))

    def below_proof(self) -> bool:
        """Whether a peer reached less than the proven lower bound, which would be a fault in torchlogit."""
        least = min((run.objective for run in self.runs), default=self.optimum)
        return self.proven and least < self.optimum * (1 - ROUNDING)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Limit torch, BLAS and OpenMP to this many threads, as far as they are loaded by now."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def warm_up(peers: Iterable[Peer], problem: Problem) -> None:
    """Fit each peer once before anything is timed, for imports and compilation, on enough rows for its usual path."""
    small = replace(
        synthetic(4000, 30, problem.n_classes, l2=1.0 if problem.l2 else 0.0), l1=40.0 if problem.l1 else 0.0
    )
    if problem.sparse:
        small = replace(small, X=scipy.sparse.csr_array(small.X))
    small = replace(small, intercept=problem.intercept)
    for peer in peers:
        if peer.cannot(problem) is None:
            for precision in peer.precisions:
                _attempt(peer, small.in_precision(precision), peer.budgets[0])


def measure(problem: Problem, peers: tuple[Peer, ...], *, repeat: int, cap: float, say: Say) -> Measured:
    """Measure all peers on one problem. cap: seconds that a run may take; longer ones are not tried."""
    versions = {precision: problem.in_precision(precision) for precision in PRECISIONS}
    refused = {peer.name: reason for peer in peers if (reason := peer.cannot(problem)) is not None}
    able = [peer for peer in peers if peer.name not in refused]
    reference, proven = _reference(problem)
    say(f"{problem.name}  F* = {reference:.10g}{'' if proven else ', not proven'}")
    runs: list[Run] = []
    for peer in able:
        budgets = peer.budgets
        for precision in peer.precisions:
            clock = _Clock(cap, peer.name, reference if proven else None, tuple(runs))
            series = _series(peer, versions[precision], budgets, clock, say)
            budgets = _worth_comparing(budgets, series, clock)
            runs += series
    measured = Measured(
        problem.name,
        problem.description,
        *problem.X.shape,
        optimum=reference if proven else min([reference, *(run.objective for run in runs)]),
        proven=proven,
        runs=runs,
        default_runs=[_run(peer, versions["float64"], None) for peer in able] if problem.out_of_the_box else [],
        refused=refused,
        plain_read={precision: plain_read(rows.values) for precision, rows in versions.items()},
        sizes={precision: rows.nbytes for precision, rows in versions.items()},
    )
    by_name = {peer.name: peer for peer in able}
    again = [run for run in _contenders(measured) if run.seconds[0] <= cap]
    for _ in range(repeat - 1):
        for run in again:
            run.seconds.append(_attempt(by_name[run.peer], versions[run.precision], run.budget).seconds)
    for reading in measured.readings():
        peer, rows, run = by_name[reading.peer], versions[reading.precision], measured.fastest(reading.peer)
        assert run is not None
        measured.peaks[peer.name] = peak_beyond(lambda p=peer, r=rows, b=run.budget: _attempt(p, r, b))  # type: ignore[misc]
    return measured


@dataclass(frozen=True)
class _Clock:
    """Decides whether a peer's next budget is tried. runs: those of other peers and precisions so far."""

    cap: float
    peer: str
    optimum: float | None
    runs: tuple[Run, ...]

    def allows(self, budget: float, series: list[Run]) -> bool:
        """Whether a run with this budget, after those of the series, is expected to be short enough."""
        return not series or _expected(series[-1], budget) <= self.limit(series)

    def limit(self, series: list[Run]) -> float:
        """The seconds that one run may take."""
        there = [run for run in (*self.runs, *series) if self.reached(run, LEVELS[-1])]
        anyone = min((run.seconds[0] for run in there), default=float("inf"))
        own = min((run.seconds[0] for run in there if run.peer == self.peer), default=float("inf"))
        return min(self.cap, max(SHORT, min(PATIENCE * anyone, WORTH_FINISHING * own)))

    def reached(self, run: Run, level: float) -> bool:
        """Whether a run reached this accuracy; False without a proven optimum."""
        return self.optimum is not None and run.objective <= self.optimum * (1 + level)


def _expected(last: Run, budget: float) -> float:
    """The seconds that a budget will take: in proportion if it is a count, the same if it is a tolerance."""
    assert last.budget is not None
    return last.seconds[0] * max(1.0, budget / last.budget)


def _worth_comparing(budgets: tuple[float, ...], series: list[Run], clock: _Clock) -> tuple[float, ...]:
    """The budgets for the second precision, without those that did not reach the coarsest level in the first."""
    if clock.optimum is None:
        return budgets
    first = next((run for run in series if clock.reached(run, LEVELS[0])), series[-1])
    return budgets[[run.budget for run in series].index(first.budget) :]


def _series(peer: Peer, problem: Problem, budgets: tuple[float, ...], clock: _Clock, say: Say) -> list[Run]:
    """One run for each budget, until the peer settles or the next run would take too long."""
    series: list[Run] = []
    for budget in budgets:
        if not clock.allows(budget, series):
            series[-1] = replace(series[-1], cut=True)
            break
        run = _run(peer, problem, budget)
        where = f"{problem.name}  {peer.name}  {run.precision}  {budget:g}"
        say(f"{where}: {run.seconds[0]:.3f} s  F={run.objective:.10g}")
        series.append(run)
        if run.settled:
            break
    return series


def _contenders(measured: Measured) -> list[Run]:
    """The runs that may be their peer's fastest to some level."""
    chosen = []
    for peer in {run.peer for run in measured.runs}:
        for level in LEVELS:
            reached = measured.reached(peer, level)
            fastest = min((run.seconds[0] for run in reached), default=0.0)
            chosen += [run for run in reached if run.seconds[0] <= WORTH_REPEATING * fastest]
    return [run for run in measured.runs if any(run is other for other in chosen)]


def _reference(problem: Problem) -> tuple[float, bool]:
    """F*, and whether it is proven; if not, it is the value that torchlogit reached."""
    if PEERS["torchlogit"].cannot(problem) is not None:
        return float("inf"), False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = certified(problem, REFERENCE_TOL, REFERENCE_SECONDS)
    value, bound = judge(problem, model.coef_, model.intercept_).objective, model.certificate_.bound
    if bound is None or bound > PROOF * value:
        return value, False
    return value - bound, True


@dataclass(frozen=True)
class _Attempt:
    result: Fit | Exception
    seconds: float
    warned: tuple[str, ...]


def _attempt(peer: Peer, problem: Problem, budget: float | None) -> _Attempt:
    """One timed fit and the categories of its warnings; an exception that it raises is its result."""
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        result: Fit | Exception
        try:
            result = peer.fit(problem, budget)
        except Exception as error:
            result = error
        seconds = time.perf_counter() - began
    if isinstance(result, Fit) and result.seconds is not None:
        seconds = result.seconds
    return _Attempt(result, seconds, tuple(sorted({warning.category.__name__ for warning in caught})))


def _run(peer: Peer, problem: Problem, budget: float | None) -> Run:
    attempt = _attempt(peer, problem, budget)
    result = attempt.result
    if isinstance(result, Exception):
        result = _nothing(problem, f"raised {type(result).__name__}")
    at = judge(problem, result.coef, result.intercept)
    return Run(
        peer.name,
        budget,
        problem.X.dtype.name,
        at.objective,
        at.accuracy,
        [attempt.seconds],
        result.ended,
        attempt.warned,
        result.relative_bound,
        result.passes,
        result.settled,
    )


def _nothing(problem: Problem, ended: str) -> Fit:
    """The result of a fit that raised: infinitely bad, and settled, so that no larger budget is tried."""
    outputs = 1 if problem.n_classes == 2 else problem.n_classes
    return Fit(np.full((outputs, problem.X.shape[1]), np.nan), np.full(outputs, np.nan), ended, True)
