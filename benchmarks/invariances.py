"""By how much the answers of torchlogit and its peers change where they should not change at all.

    python -m benchmarks.invariances          prints the table of docs/invariances.md

A change turns a table into another one whose minimiser follows by a known map: rows in another order, columns in other
units, weights written out as repeated rows. The figure is the largest difference in a row's log-odds between the answer
to the table and the answer to the changed table, mapped back, divided by the largest log-odds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.invariance_peers import PEERS, Peer
from benchmarks.measure import threads

Array = NDArray[np.float64]
Back = Callable[[Array], Array]


@dataclass(frozen=True)
class Table:
    """A problem: X (n, p) dense or CSR, classes y (n,) from 0, integer weights (n,), the penalty and its factors (p,).

    An answer is (1 or K, p + 1): the coefficients and, last, the intercept.
    """

    X: Any
    y: NDArray[np.int64]
    weight: Array
    l1: float
    l2: float
    factors: Array

    @property
    def n_classes(self) -> int:
        """The number of classes; each has rows."""
        return int(self.y.max()) + 1


def as_csr(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """X as CSR."""
    return replace(table, X=sparse.csr_array(table.X)), same


def as_float32(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """X in float32, which holds its values exactly."""
    return replace(table, X=table.X.astype(np.float32)), same


def weights_as_rows(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """Each row repeated as often as its weight says; rows of weight 0 are left out."""
    rows = np.repeat(np.arange(len(table.y)), table.weight.astype(int))
    return replace(table, X=table.X[rows], y=table.y[rows], weight=np.ones(len(rows))), same


def weights_multiplied(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """Weights and penalty multiplied by the same number."""
    by = float(rng.integers(2, 100))
    return replace(table, weight=by * table.weight, l1=by * table.l1, l2=by * table.l2), same


def rows_permuted(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """The rows in another order."""
    order = rng.permutation(len(table.y))
    return replace(table, X=table.X[order], y=table.y[order], weight=table.weight[order]), same


def columns_permuted(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """The columns in another order."""
    order = rng.permutation(table.X.shape[1])
    places = np.append(np.argsort(order), len(order))
    return replace(table, X=table.X[:, order], factors=table.factors[order]), lambda theta: theta[:, places]


def columns_rescaled(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """The columns in other units, and the penalty factors accordingly: for l1 or l2, not for both."""
    if table.l1 and table.l2:
        raise NotApplicableError
    units = 10.0 ** rng.uniform(-3, 3, table.X.shape[1])
    factors = table.factors * (units**2 if table.l2 else units)
    return replace(table, X=table.X * units, factors=factors), lambda theta: theta * np.append(units, 1.0)


def columns_shifted(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """A constant added to each column, which changes only the intercept."""
    shift = rng.uniform(-5, 5, table.X.shape[1])

    def back(theta: Array) -> Array:
        return np.column_stack([theta[:, :-1], theta[:, -1] + theta[:, :-1] @ shift])

    return replace(table, X=table.X + shift), back


def constant_added(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """A constant column added, which is redundant with the intercept."""
    X = np.column_stack([table.X, np.full(len(table.y), 3.0)])

    def back(theta: Array) -> Array:
        return np.column_stack([theta[:, :-2], theta[:, -1] + 3.0 * theta[:, -2]])

    return replace(table, X=X, factors=np.append(table.factors, 1.0)), back


def classes_permuted(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """The classes in another order; two classes are swapped."""
    if table.n_classes == 2:
        return replace(table, y=1 - table.y), lambda theta: -theta
    order = rng.permutation(table.n_classes)
    return replace(table, y=order[table.y]), lambda theta: theta[order]


def nothing(table: Table, rng: np.random.Generator) -> tuple[Table, Back]:
    """No change: the same call again."""
    return table, same


def same(theta: Array) -> Array:
    """The same answer."""
    return theta


class NotApplicableError(Exception):
    """Raised where the change is not possible for this table."""


CHANGES = {
    "dense = sparse": as_csr,
    "float32 = float64": as_float32,
    "whole weights = repeated rows": weights_as_rows,
    "weights and penalty times c": weights_multiplied,
    "rows permuted": rows_permuted,
    "columns permuted": columns_permuted,
    "columns rescaled": columns_rescaled,
    "columns shifted": columns_shifted,
    "a constant column added": constant_added,
    "classes permuted": classes_permuted,
}


def example(n: int = 2000, seed: int = 0) -> Table:
    """A table that every peer can fit: three normal columns, two of zeros and ones, one of small integers."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.standard_normal((n, 3)), rng.random((n, 2)) < [0.3, 0.05], rng.poisson(1.0, n)])
    X = X.astype(np.float32).astype(np.float64)
    raw = X @ [1.0, -1.0, 0.5, 0.7, -1.0, 0.3] - 0.3
    y = (rng.random(n) < 1 / (1 + np.exp(-raw))).astype(np.int64)
    return Table(X, y, rng.integers(0, 4, n).astype(float), 0.0, 10.0, np.ones(6))


def difference(table: Table, theta: Array, other: Array) -> float:
    """The largest difference in a row's log-odds between two answers, divided by the largest log-odds."""
    raw, apart = (table.X @ part[:, :-1].T + part[:, -1] for part in (theta, other - theta))
    return float(np.abs(apart).max() / np.abs(raw).max())


def figure(peer: Peer, name: str, rng: np.random.Generator) -> float:
    """The difference in the peer's answers that the change of this name causes."""
    table = example()
    if not peer.penalised or name == "columns rescaled":  # which would need penalty factors by column
        table = replace(table, l2=0.0)
    if name not in ("whole weights = repeated rows", "weights and penalty times c"):
        table = replace(table, weight=np.ones(len(table.y)))
    changed, back = CHANGES[name](table, rng)
    return difference(table, peer.fit(table, None), back(peer.fit(changed, None)))


def warm_start(peer: Peer, rng: np.random.Generator) -> float:
    """The difference between a warm start from the fit of the first half of the rows and a cold start."""
    table = _plain(peer, example())
    half = replace(table, X=table.X[:1000], y=table.y[:1000], weight=table.weight[:1000])
    return difference(table, peer.fit(table, None), peer.fit(table, half))


def in_parts(peer: Peer, rng: np.random.Generator) -> float:
    """The difference between one call of partial_fit and seven calls with the same rows."""
    if peer.learn is None:
        raise NotImplementedError
    table = _plain(peer, example())
    cuts = np.sort(rng.choice(np.arange(1, len(table.y)), 6, replace=False))
    return difference(table, peer.learn(table, cuts[:0]), peer.learn(table, cuts))


def one_thread_or_two(peer: Peer, rng: np.random.Generator) -> float:
    """The difference between one thread and two, on enough rows for both threads to be used."""
    table = _plain(peer, example(350_000))
    answers = []
    for count in (1, 2):
        with threads(count):
            answers.append(peer.fit(table, None))
    return difference(table, *answers)


def again(peer: Peer, rng: np.random.Generator) -> float:
    """The difference between two equal calls with two threads."""
    table = _plain(peer, example())
    with threads(2):
        return difference(table, peer.fit(table, None), peer.fit(table, None))


def _plain(peer: Peer, table: Table) -> Table:
    return replace(table, weight=np.ones(len(table.y)), l2=table.l2 if peer.penalised else 0.0)


OTHERS = {
    "one partial_fit = seven": in_parts,
    "fit = warm start": warm_start,
    "one thread or two": one_thread_or_two,
    "the same call again": again,
}


def rows() -> Iterator[str]:
    """The lines of the table, as Markdown."""
    yield f"| what changes | {' | '.join(peer.name for peer in PEERS)} |"
    yield "|---|" + "---:|" * len(PEERS)
    for name in (*CHANGES, *OTHERS):
        cells = []
        for peer in PEERS:
            rng = np.random.default_rng(1)
            try:
                found = figure(peer, name, rng) if name in CHANGES else OTHERS[name](peer, rng)
            except NotImplementedError:
                cells.append("-")
            else:
                cells.append("0" if found == 0 else f"{found:.0e}")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    for row in rows():
        print(row, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # of peers that do not converge
    main()
