"""The measurement: everyone in one process, side by side, judged by one independently written F.

First every peer runs once with every budget, the least first, until it settles or a run takes longer than the cap;
then the runs that may turn out the fastest to an accuracy are repeated in turn, and the median of all their times
counts. float32 and float64 rows are both tried, and the better counts.

Accuracy is (F - F*) / F*. F* is the lower bound that a torchlogit certificate proves at a tolerance of 1e-12, so
nobody is flattered; where there is no such proof it is the least F that anyone reached.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.peers import Fit, Peer, certified
from benchmarks.problems import Array, Problem, synthetic

LEVELS = (1e-3, 1e-6)
PRECISIONS = ("float32", "float64")
REFERENCE_TOL = 1e-12
WORTH_REPEATING = 4.0  # a run that took this many times the fastest one to a level is not measured again
ROUNDING = 1e-13  # of two evaluations of F, relative
BLOCK_ROWS = 1 << 16

Say = Callable[[str], None]


@dataclass(frozen=True)
class Judgement:
    """F in nats, and the share of rows whose own class is the likeliest."""

    objective: float
    accuracy: float


def judge(problem: Problem, coef: Array, intercept: Array) -> Judgement:
    """F and accuracy in float64, from coef (1 or K, p) and intercept (1 or K,) alone."""
    if not (np.isfinite(coef).all() and np.isfinite(intercept).all()):
        return Judgement(float("inf"), float("nan"))
    losses, right = 0.0, 0
    for start in range(0, len(problem.y), BLOCK_ROWS):
        y = problem.y[start : start + BLOCK_ROWS]
        raw = problem.X[start : start + BLOCK_ROWS].astype(np.float64) @ coef.T + intercept
        if raw.shape[1] == 1:
            raw = np.hstack([np.zeros_like(raw), raw])
        top = raw.max(axis=1)
        total = np.log(np.exp(raw - top[:, None]).sum(axis=1))
        losses += float((total + (top - raw[np.arange(len(y)), y])).sum())
        right += int((raw.argmax(axis=1) == y).sum())
    return Judgement(losses + problem.l2 / 2 * float((coef**2).sum()), right / len(problem.y))


@dataclass(frozen=True)
class Run:
    """One peer with one budget (None: its default settings) in one precision; `seconds` of each repetition."""

    peer: str
    budget: float | None
    precision: str
    objective: float
    accuracy: float
    seconds: list[float]
    ended: str
    warned: tuple[str, ...]
    relative_bound: float | None


@dataclass(frozen=True)
class Outcome:
    """What a table says of a peer: seconds to each level (None: never), and the end of its longest series."""

    peer: str
    seconds_to: dict[float, float | None]
    suboptimality: float
    relative_bound: float | None
    ended: str
    warned: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """A problem's runs. `optimum` is F*, `proven` whether it is a proven lower bound; refusals by peer."""

    problem: str
    description: str
    n_rows: int
    optimum: float
    proven: bool
    runs: list[Run] = field(default_factory=list)
    default_runs: list[Run] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def suboptimality(self, run: Run) -> float:
        """(F - F*) / F*."""
        return (run.objective - self.optimum) / self.optimum

    def reached(self, peer: str, level: float) -> list[Run]:
        """The runs of a peer that got as close as this."""
        return [run for run in self.runs if run.peer == peer and self.suboptimality(run) <= level]

    def outcome(self, peer: str) -> Outcome:
        """The table's row for a peer that ran."""
        seconds = {
            level: min((median(run.seconds) for run in self.reached(peer, level)), default=None) for level in LEVELS
        }
        series = [[run for run in self.runs if run.peer == peer and run.precision == p] for p in PRECISIONS]
        last = min((runs[-1] for runs in series if runs), key=lambda run: run.objective)
        return Outcome(peer, seconds, self.suboptimality(last), last.relative_bound, last.ended, last.warned)

    def below_proof(self) -> bool:
        """Whether someone reached less than what a certificate said is possible: a fault in torchlogit."""
        least = min((run.objective for run in self.runs), default=self.optimum)
        return self.proven and least < self.optimum * (1 - ROUNDING)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch, BLAS and OpenMP."""
    before = torch.get_num_threads()
    with threadpool_limits(limits=count):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def warm_up(peers: Iterable[Peer], n_classes: int) -> None:
    """Imports and first calls, before any clock runs: rows enough for every peer's usual path."""
    problem = synthetic(4000, 30, n_classes)
    for peer in peers:
        if peer.cannot(problem) is None:
            for precision in PRECISIONS:
                _attempt(peer, problem.in_precision(precision), peer.budgets[0])


def measure(problem: Problem, peers: tuple[Peer, ...], *, repeat: int, cap: float, say: Say) -> Measured:
    """All peers on one problem. cap: seconds of one run after which a peer's larger budgets are left out."""
    warm_up(peers, problem.n_classes)
    versions = {precision: problem.in_precision(precision) for precision in PRECISIONS}
    refused = {peer.name: reason for peer in peers if (reason := peer.cannot(problem)) is not None}
    able = [peer for peer in peers if peer.name not in refused]
    runs = [run for peer in able for rows in versions.values() for run in _series(peer, rows, cap, say)]
    optimum, proven = _optimum(problem, runs)
    default_runs = [_run(peer, versions["float64"], None) for peer in able] if problem.out_of_the_box else []
    measured = Measured(problem.name, problem.description, len(problem.y), optimum, proven, runs, default_runs, refused)
    by_name = {peer.name: peer for peer in able}
    again = [run for run in _contenders(measured) if run.seconds[0] <= cap]
    for _ in range(repeat - 1):
        for run in again:
            run.seconds.append(_attempt(by_name[run.peer], versions[run.precision], run.budget).seconds)
    return measured


def _series(peer: Peer, problem: Problem, cap: float, say: Say) -> Iterator[Run]:
    """One run per budget, until the peer settles or exceeds the cap."""
    for budget in peer.budgets:
        attempt = _attempt(peer, problem, budget)
        run = _judged(peer, problem, budget, attempt)
        say(
            f"{problem.name}  {peer.name}  {run.precision}  {budget:g}: {attempt.seconds:.3f} s  F={run.objective:.10g}"
        )
        yield run
        if attempt.seconds > cap or isinstance(attempt.result, Exception) or attempt.result.settled:
            return


def _contenders(measured: Measured) -> list[Run]:
    """The runs that may be the fastest of their peer to some level."""
    chosen = []
    for peer in {run.peer for run in measured.runs}:
        for level in LEVELS:
            reached = measured.reached(peer, level)
            fastest = min((run.seconds[0] for run in reached), default=0.0)
            chosen += [run for run in reached if run.seconds[0] <= WORTH_REPEATING * fastest]
    return [run for run in measured.runs if any(run is other for other in chosen)]


def _optimum(problem: Problem, runs: list[Run]) -> tuple[float, bool]:
    """F*, and whether it is proven."""
    result = certified(problem, REFERENCE_TOL)
    reference = judge(problem, result.params.coef.T.numpy(), result.params.intercept.numpy()).objective
    if result.certificate.bound is not None:
        return reference - result.certificate.bound, True
    return min([reference] + [run.objective for run in runs]), False


@dataclass(frozen=True)
class _Attempt:
    result: Fit | Exception
    seconds: float
    warned: tuple[str, ...]


def _attempt(peer: Peer, problem: Problem, budget: float | None) -> _Attempt:
    """One timed fit, with the kinds of warnings it gave; whatever a peer raises is its result."""
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
    return _Attempt(result, seconds, tuple(sorted({warning.category.__name__ for warning in caught})))


def _run(peer: Peer, problem: Problem, budget: float | None) -> Run:
    return _judged(peer, problem, budget, _attempt(peer, problem, budget))


def _judged(peer: Peer, problem: Problem, budget: float | None, attempt: _Attempt) -> Run:
    precision, seconds, result = problem.X.dtype.name, [attempt.seconds], attempt.result
    if isinstance(result, Exception):
        ended = f"raised {type(result).__name__}"
        return Run(peer.name, budget, precision, float("inf"), float("nan"), seconds, ended, attempt.warned, None)
    at = judge(problem, result.coef, result.intercept)
    return Run(
        peer.name,
        budget,
        precision,
        at.objective,
        at.accuracy,
        seconds,
        result.ended,
        attempt.warned,
        result.relative_bound,
    )
