"""Choosing l2 by folds, compared with scikit-learn's LogisticRegressionCV: `python -m benchmarks.path adult covtype`.

All peers get the same 32 penalties from 1e-3 to 1e5 and the same 5 stratified folds. Reported are CPU seconds, also as
a multiple of one certified fit; the l2 chosen; how far F of the final fit is above its minimum, relative to it; and the
largest difference of the held-out log losses from those of certified fits.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

from benchmarks.measure import judge, threads
from benchmarks.problems import PROBLEMS, Array, MissingDataError, Problem
from torchlogit import LogisticRegression, LogisticRegressionPath

L2S = np.geomspace(1e5, 1e-3, 32)
PROVEN = 1e-10  # the relative bound of the fits that F is compared with
T = TypeVar("T")
Folds = list[tuple[Array, Array]]


@dataclass(frozen=True)
class Answer:
    """The chosen l2, the fit at it, and the mean held-out log loss at each l2, in the order of L2S."""

    l2: float
    coef: Array
    intercept: Array
    losses: Array


def ours(problem: Problem, folds: Folds) -> Answer:
    """torchlogit's path; the chosen fit and its two neighbours are certified."""
    path = LogisticRegressionPath(l2s=L2S, choose="cv", cv=folds).fit(problem.X, problem.y)
    place = int(np.flatnonzero(path.l2s_ == path.l2_)[0])
    for near in {max(place - 1, 0), min(place + 1, len(L2S) - 1)} - {place}:
        path.certify(float(path.l2s_[near]))
    return Answer(path.l2_, path.coef_, path.intercept_, np.array([point.loss for point in path.path_]))


def theirs(problem: Problem, folds: Folds, *, solver: str, max_iter: int) -> Answer:
    """LogisticRegressionCV by log loss, in float64."""
    search = LogisticRegressionCV(
        Cs=1 / L2S,
        cv=folds,
        solver=solver,
        max_iter=max_iter,
        scoring="neg_log_loss",
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    search.fit(problem.X.astype(np.float64), problem.y)
    losses = -search.scores_.reshape(len(folds), len(L2S)).mean(axis=0)
    return Answer(1 / float(search.C_), search.coef_, search.intercept_, losses)


PEERS: dict[str, Callable[[Problem, Folds], Answer]] = {
    "torchlogit": ours,
    "newton-cholesky": partial(theirs, solver="newton-cholesky", max_iter=100),
    "lbfgs": partial(theirs, solver="lbfgs", max_iter=100),
    "lbfgs, 10,000 iterations": partial(theirs, solver="lbfgs", max_iter=10_000),
}


def held_out(problem: Problem, folds: Folds, l2: float) -> float:
    """The mean log loss of the folds, each predicted by a certified fit of the other folds."""
    losses = []
    for train, test in folds:
        model = LogisticRegression(l2=l2, tol=PROVEN).fit(problem.X[train], problem.y[train])
        losses.append(log_loss(problem.y[test], model.predict_proba(problem.X[test])))
    return float(np.mean(losses))


def above(problem: Problem, answer: Answer) -> float:
    """How far F of the final fit is above its proven least value, relative to that."""
    problem = replace(problem, l2=answer.l2)
    best = LogisticRegression(l2=answer.l2, tol=PROVEN).fit(problem.X, problem.y)
    least = judge(problem, best.coef_, best.intercept_).objective - best.certificate_.bound
    return judge(problem, answer.coef, answer.intercept).objective / least - 1


def measured(problem: Problem, peers: list[str]) -> None:
    """Print a line for every peer."""
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(problem.X, problem.y))
    model = LogisticRegression()
    single = min(_seconds(partial(model.fit, problem.X, problem.y))[0] for _ in range(3))
    exact = [held_out(problem, folds, l2) for l2 in L2S]
    print(f"\n{problem.name}: {problem.description}; one fit, l2 = 1: {single:.2f} CPU s\n")
    print("| peer | CPU s | fits | l2 taken | F above its least | log losses apart |", flush=True)
    print("|---|---:|---:|---:|---:|---:|")
    for name in peers:
        seconds, answer = _seconds(partial(PEERS[name], problem, folds))
        apart = np.abs(answer.losses - exact).max()
        print(
            f"| {name} | {seconds:.1f} | {seconds / single:.1f} | {answer.l2:.3g} | {above(problem, answer):.0e} "
            f"| {apart:.0e} |",
            flush=True,
        )


def _seconds(call: Callable[[], T]) -> tuple[float, T]:
    began = time.process_time()
    result = call()
    return time.process_time() - began, result


def main() -> None:
    """Measure the problems given on the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.path", description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", default=["adult"], help="of benchmarks.problems (default: adult)")
    parser.add_argument("--peers", default=";".join(PEERS), help=f"of {'; '.join(PEERS)}, semicolons between")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of peers that do not converge
    with threads(1):
        LogisticRegressionPath(l2s=L2S, choose="cv").fit(*_warm_up())
        for name in options.problems:
            try:
                measured(PROBLEMS[name](), options.peers.split(";"))
            except MissingDataError as error:
                print(f"{name}: {error}")


def _warm_up() -> tuple[Array, Array]:
    """Rows for a first fit that is not timed, in which modules are imported and loops compiled."""
    problem = PROBLEMS["adult"]()
    return problem.X[:3000], problem.y[:3000]


if __name__ == "__main__":
    main()
