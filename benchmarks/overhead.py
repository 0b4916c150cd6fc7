"""The overhead of the estimator over the solver, and of predicting over reading X: `python -m benchmarks.overhead`.

The median and the least time of repeated calls in this process, after one call that is not timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression as Theirs

from benchmarks.measure import threads
from benchmarks.memory import plain_read
from torchlogit import LogisticRegression
from torchlogit.design import Dense
from torchlogit.estimator import to_model
from torchlogit.fit import Goal, fit
from torchlogit.losses import loss_for
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.solvers.choice import BY_NAME

ROWS, COLUMNS = 400, 10
MANY, WIDE = 1_000_000, 30
TOL = 1e-6


def example(n: int, p: int, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Normal columns, and labels drawn from a logistic model."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)).astype(dtype)
    y = (X @ rng.standard_normal(p) + rng.logistic(size=n) > 0).astype(int)
    return X, y


def timed(call: Callable[[], object], repeat: int) -> np.ndarray:
    """The seconds of each call, after one call that does not count."""
    call()
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return np.array(seconds)


def engine(X: np.ndarray, y: np.ndarray) -> object:
    """The same objective, solver and goal without the estimator; normal columns need no centring."""
    design = Dense.of(torch.from_numpy(X), intercept=True)
    target = torch.from_numpy(y[:, None].astype(np.float64))
    objective = Objective.of(design, target, loss=loss_for(2), penalty=ElasticNet(l2=1.0))
    return fit(objective, BY_NAME["auto"](objective, 0, TOL), Goal(TOL, max_iter=200))


def lines() -> Iterator[str]:
    """The rows of the table, as Markdown."""
    yield "| call | median | least |"
    yield "|---|---:|---:|"
    X, y = example(ROWS, COLUMNS)
    model = LogisticRegression().fit(X, y)
    saved, theirs, row = to_model(model), Theirs().fit(X, y), X[:1]
    fits = timed(lambda: LogisticRegression().fit(X, y), 200)
    engines = timed(partial(engine, X, y), 200)
    yield line(f"`LogisticRegression().fit`, {ROWS} x {COLUMNS}", fits, 1e3, "ms")
    yield line("the engine alone, objective included", engines, 1e3, "ms")
    yield line("scikit-learn's `fit`", timed(lambda: Theirs().fit(X, y), 200), 1e3, "ms")
    yield line("`LogisticRegression.predict_proba`, one row", timed(lambda: model.predict_proba(row), 5000), 1e6, "µs")
    yield line("`LogisticModel.predict_proba`, one row", timed(lambda: saved.predict_proba(row), 5000), 1e6, "µs")
    yield line("scikit-learn's `predict_proba`, one row", timed(lambda: theirs.predict_proba(row), 5000), 1e6, "µs")
    for dtype in (np.float64, np.float32):
        X, y = example(MANY, WIDE, dtype)
        model = LogisticRegression().fit(X[:20_000], y[:20_000])
        name = f"`predict_proba`, {MANY:,} x {WIDE}, {X.dtype}"
        read = X.nbytes / plain_read(X)
        for who, call in (("LogisticRegression", model), ("LogisticModel", to_model(model))):
            seconds = timed(partial(call.predict_proba, X), 9)
            yield line(f"{who}, {name}", seconds, 1e3, "ms", f", {read / seconds.min():.2f} of a plain read's speed")


def line(name: str, seconds: np.ndarray, scale: float, unit: str, more: str = "") -> str:
    """One row of the table."""
    return f"| {name} | {np.median(seconds) * scale:.3g} {unit} | {seconds.min() * scale:.3g} {unit}{more} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of torch, BLAS and OpenMP (default 2)")
    with threads(parser.parse_args().threads):
        for text in lines():
            print(text, flush=True)


if __name__ == "__main__":
    main()
