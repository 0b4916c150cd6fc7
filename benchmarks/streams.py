"""Learning in one pass on real streams, compared with the certified optimum, river and Vowpal Wabbit:

    python -m benchmarks.streams [covtype flights elec wide]

Prints a line for each: F per row above the optimum, d / (2 n), the progressive log loss, and rows per CPU second.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse
from numpy.typing import NDArray
from pyarrow import csv

from benchmarks.peers.vowpal_wabbit import VowpalWabbit
from benchmarks.problems import PROBLEMS, _file, flights_table
from torchlogit import LogisticRegression, TableEncoder
from torchlogit.penalties import ElasticNet
from torchlogit.streaming.newton import StreamingNewton
from torchlogit.streaming.scale_free import ScaleFree
from torchlogit.streaming.stream import Stream

Array = NDArray[np.float64]
BLOCK = 4096
UNKNOWN = ("dep_time", "dep_delay", "arr_time", "air_time", "arr_delay", "time_hour", "tailnum", "flight", "year")


def passed(stream: Stream, X: Any, y: Array) -> float:
    """The CPU seconds of one pass, which depend less on other processes than wall-clock seconds."""
    began = time.process_time()
    for start in range(0, len(y), BLOCK):
        stream.learn(X[start : start + BLOCK], y[start : start + BLOCK, None])
    return time.process_time() - began


def objective(X: Any, y: Array, coef: Array, intercept: float, l2: float) -> float:
    """F divided by the number of rows."""
    z = X @ coef + intercept
    return float((np.logaddexp(0, -(2 * y - 1) * z).sum() + l2 / 2 * coef @ coef) / len(y))


def against_optimum(name: str, X: Any, y: Array, learner: StreamingNewton | ScaleFree) -> None:
    """One pass in random order, and how far F of the result is above its minimum over the same rows."""
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order].astype(np.float64)
    warm = learner.begin(X.shape[1], 2, ElasticNet(l2=1.0))
    passed(warm, X[:BLOCK], y[:BLOCK])  # compiles the loops
    stream = learner.begin(X.shape[1], 2, ElasticNet(l2=1.0))
    seconds = passed(stream, X, y)
    answer = stream.answer()
    optimum = LogisticRegression(tol=1e-8).fit(X, y)
    least = objective(X, y, optimum.coef_[0], float(optimum.intercept_[0]), 1.0)
    found = objective(X, y, answer.params.coef[:, 0].numpy(), float(answer.params.intercept[0]), 1.0)
    n, p = len(y), X.shape[1] + 1
    print(
        f"{name}: {n:,} x {p - 1:,}, optimum {least:.6f}, excess {found - least:.2e} a row, d/(2n) {p / 2 / n:.2e}, "
        f"said {answer.excess}, progressive {answer.progressive.log_loss:.5f}, {n / seconds:,.0f} rows/s",
        {key: round(value, 3) for key, value in answer.expert_weights.items() if value > 0.01},
        flush=True,
    )


def covtype() -> None:
    """Cover type 1 against the rest, standardised."""
    problem = PROBLEMS["covtype"]()
    against_optimum("covtype", problem.X, problem.y, StreamingNewton())


def flights() -> None:
    """Arrival over 15 minutes late; columns that are known only after departure are left out."""
    table = flights_table()
    y = (table["arr_delay"].to_numpy() > 15).astype(np.int64)
    X = TableEncoder().fit_transform(table.drop_columns([name for name in UNKNOWN if name in table.column_names]))
    dense = X.toarray() if scipy.sparse.issparse(X) else X
    against_optimum("flights", np.asarray(dense, dtype=np.float32), y, StreamingNewton())


def wide() -> None:
    """ScaleFree, and one pass of Vowpal Wabbit over the same rows."""
    for name in ("a9a", "mushrooms", "newsgroups_space", "flights"):
        problem = PROBLEMS[name]()
        order = np.random.default_rng(0).permutation(len(problem.y))
        shuffled = type(problem)(f"{name}_shuffled", problem.X[order], problem.y[order], problem.l2, "in random order")
        against_optimum(f"{name} (ScaleFree)", problem.X, problem.y, ScaleFree())
        fitted = VowpalWabbit().fit(shuffled, 1)
        found = objective(shuffled.X, shuffled.y, fitted.coef.reshape(-1), float(fitted.intercept[0]), 1.0)
        print(f"{name} (Vowpal Wabbit): objective {found:.6f}, without penalty "
              f"{objective(shuffled.X, shuffled.y, fitted.coef.reshape(-1), float(fitted.intercept[0]), 0.0):.6f}, "
              f"{len(shuffled.y) / fitted.seconds:,.0f} rows/s from its cache", flush=True)  # fmt: skip


def elec() -> None:
    """Electricity prices in time order, compared with river's scaled logistic regression, one row at a time."""
    from river import linear_model, preprocessing

    table = csv.read_csv(_file("elec/elec.csv"))
    values = np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float64)
    X, y = np.ascontiguousarray(values[:, :-1]), values[:, -1].copy()
    passed(StreamingNewton().begin(X.shape[1], 2, ElasticNet(l2=1.0)), X[:1000], y[:1000])
    stream = StreamingNewton().begin(X.shape[1], 2, ElasticNet(l2=1.0))
    seconds = passed(stream, X, y)
    found = stream.answer().progressive
    rows = [dict(enumerate(row)) for row in X.tolist()]
    model = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    began, lost = time.process_time(), 0.0
    for row, label in zip(rows, y, strict=True):
        p = min(max(model.predict_proba_one(row).get(True, 0.5), 1e-15), 1 - 1e-15)
        lost -= np.log(p if label else 1 - p)
        model.learn_one(row, bool(label))
    theirs = time.process_time() - began
    print(
        f"elec: progressive log loss {found.log_loss:.4f} +- {found.log_loss_error:.4f}, "
        f"accuracy {found.accuracy:.4f}, "
        f"{len(y) / seconds:,.0f} rows/s; river {lost / len(y):.4f}, {len(y) / theirs:,.0f} rows/s: "
        f"{theirs / seconds:.0f} times",
        flush=True,
    )


CASES: dict[str, Callable[[], None]] = {"covtype": covtype, "flights": flights, "elec": elec, "wide": wide}

if __name__ == "__main__":
    pa.set_cpu_count(1)
    for chosen in sys.argv[1:] or CASES:
        CASES[chosen]()
