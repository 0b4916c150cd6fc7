"""The problems of the attack: kinds of tables on which a bound is hard to keep, drawn from seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse
from numpy.random import Generator
from numpy.typing import NDArray

from torchlogit import SAGA, SGD, DoG, ImplicitSGD

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is given to `fit`.

    y: labels, shares of the second class (n,), or shares of all classes (n, k). watched: whether every other row is
    given as eval_set as well.
    """

    X: Array
    y: Array
    weight: Array | None = None
    offset: Array | None = None
    sparse: bool = False
    watched: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    kind: str = ""
    seed: int = 0

    @property
    def rows(self) -> Any:
        """X in the form in which it is given."""
        return scipy.sparse.csr_array(self.X) if self.sparse else self.X

    @property
    def target(self) -> Array:
        """The target probabilities, (n, 1) or (n, k)."""
        if self.y.ndim == 2:
            return self.y
        if self.y.dtype.kind == "f":
            return self.y[:, None]
        k = int(self.y.max()) + 1
        return (self.y[:, None] == (np.arange(k) if k > 2 else 1)).astype(float)


Kind = Callable[[Generator], Problem]
KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    """Registers a kind under its name."""
    KINDS[make.__name__] = make
    return make


def problem(name: str, seed: int) -> Problem:
    """The problem of this kind and seed, the same on every call."""
    made = KINDS[name](np.random.default_rng([list(KINDS).index(name), seed]))
    return replace(made, kind=name, seed=seed)


# -- parts ------------------------------------------------------------------------------------------


def pick(rng: Generator, *values: Any) -> Any:
    """One of these."""
    return values[rng.integers(len(values))]


def power(rng: Generator, low: float, high: float) -> float:
    """A number whose logarithm to base 10 is uniform."""
    return float(10 ** rng.uniform(low, high))


def size(rng: Generator) -> tuple[int, int]:
    """Rows and columns."""
    return int(rng.integers(10, 45)), int(rng.integers(1, 4))


def normal(rng: Generator, *, n: int = 0, p: int = 0) -> Array:
    """Normal columns; some rounded to a few values."""
    rows, columns = size(rng)
    Z = rng.normal(size=(n or rows, p or columns))
    return np.round(Z * 2) / 2 if rng.random() < 0.2 else Z


def labels(rng: Generator, Z: Array, classes: int = 0, strength: float = 1.0) -> Array:
    """Labels drawn from a model in the standardised columns Z; every class occurs."""
    classes = classes or pick(rng, 2, 2, 2, 3)
    raw = strength * Z @ rng.normal(size=(Z.shape[1], classes)) + rng.normal(size=classes)
    y = (raw + rng.gumbel(size=raw.shape)).argmax(axis=1)
    y[rng.choice(len(y), classes, replace=False)] = np.arange(classes)
    return y


def shares(rng: Generator, Z: Array, classes: int) -> Array:
    """Shares of the second class (n,), or of all classes (n, k), all positive."""
    p = rng.dirichlet(np.ones(classes), size=len(Z))
    return p[:, 1] if classes == 2 else p


def weights(rng: Generator, n: int) -> Array | None:
    """Mostly none; else counts, or any numbers."""
    which = rng.random()
    if which < 0.6:
        return None
    return rng.integers(1, 9, size=n).astype(float) if which < 0.8 else rng.exponential(size=n)


def any_penalty(rng: Generator, p: int, *, l2: float = 1.0) -> dict[str, Any]:
    """One of all kinds of penalty; l2: its size."""
    which = rng.integers(7)
    if which <= 1:
        return {"l2": 0.0}
    if which <= 3:
        return {"l2": float(pick(rng, 0.01, 1.0, 10.0) * l2)}
    if which == 4:
        return {"l2": 0.0, "l1": power(rng, -2, 1)}
    if which == 5:
        return {"l2": 0.1 * l2, "l1": power(rng, -2, 1)}
    return {"l2": l2, "penalty_factors": rng.choice([0.0, 0.5, 1.0, 2.0], size=p)}


def solver(rng: Generator, settings: dict[str, Any], classes: int) -> dict[str, Any]:
    """Settings with a solver that takes their penalty, and at times a sharper tolerance."""
    possible: list[Any] = ["auto", "newton"]
    smooth = not settings.get("l1") and settings.get("bounds") is None
    on_all = settings.get("l2", 1.0) > 0 and np.all(settings.get("penalty_factors", 1.0))
    if on_all and settings.get("bounds") is None and (smooth or classes == 2):
        possible.append("dual")
    settings = {**settings, "solver": pick(rng, *possible)}
    if rng.random() < 0.3:
        settings["tol"] = power(rng, -13, -7)
    return settings


def finished(rng: Generator, X: Array, y: Array, **settings: Any) -> Problem:
    """The problem with what every kind varies: weights, offsets, dense or sparse, float32 or float64, the solver."""
    made = Problem(X, y, weights(rng, len(X)))
    classes = made.target.shape[1] if made.target.shape[1] > 1 else 2
    if rng.random() < 0.1:
        made = replace(made, offset=rng.normal(size=len(X) if classes == 2 else (len(X), classes)))
    if rng.random() < 0.2 and np.all((np.abs(X) < 1e37) & ((X == 0) | (np.abs(X) > 1e-37))):
        made = replace(made, X=X.astype(np.float32))
    return replace(made, sparse=bool(rng.random() < 0.2), settings=solver(rng, settings, classes))


# -- scales and means ---------------------------------------------------------------------------------


@kind
def ordinary(rng: Generator) -> Problem:
    """Nothing special."""
    Z = normal(rng)
    return finished(rng, Z, labels(rng, Z), **any_penalty(rng, Z.shape[1]))


@kind
def scales(rng: Generator) -> Problem:
    """Columns in units from 1e-12 to 1e12, each its own."""
    Z = normal(rng)
    units = 10 ** rng.uniform(-12, 12, size=Z.shape[1])
    return finished(rng, Z * units, labels(rng, Z), **any_penalty(rng, Z.shape[1], l2=power(rng, -3, 3)))


@kind
def far_means(rng: Generator) -> Problem:
    """Means of 1e3 to 1e15 spreads."""
    Z = normal(rng)
    far = 10 ** rng.uniform(3, 15, size=Z.shape[1])
    return finished(rng, (Z + far) * power(rng, -6, 6), labels(rng, Z), **any_penalty(rng, Z.shape[1]))


@kind
def counted_from_far(rng: Generator) -> Problem:
    """Integers such as 1e15 + 0..39: account numbers, coordinates."""
    n = int(rng.integers(15, 41))
    x = np.arange(n, dtype=float)
    y = labels(rng, ((x - x.mean()) / x.std())[:, None])
    return finished(rng, (x + float(10 ** rng.integers(6, 16)))[:, None], y, l2=pick(rng, 0.0, 1.0, 1e-3))


@kind
def since_1970(rng: Generator) -> Problem:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970 beside ordinary columns."""
    Z = normal(rng)
    X = Z.copy()
    X[:, 0] = np.round((1.7e9 + Z[:, 0] * power(rng, -1, 7)) * pick(rng, 1, 1e3, 1e6, 1e9))
    return finished(rng, X, labels(rng, Z), **any_penalty(rng, X.shape[1]))


@kind
def tiny_spread(rng: Generator) -> Problem:
    """A column of 1.7e9 plus 1e-7 to 1e-2 normal: few different floats."""
    Z = normal(rng)
    X = Z.copy()
    X[:, 0] = 1.7e9 + power(rng, -7, -2) * Z[:, 0]
    return finished(rng, X, labels(rng, Z), l2=pick(rng, 0.0, 0.0, 1.0))


@kind
def constant_column(rng: Generator) -> Problem:
    """A column of one number whose mean may round."""
    Z = normal(rng)
    value = pick(rng, 3.7, 0.1, 1e9 + 0.1, rng.normal(), power(rng, -9, 12))
    at = int(rng.integers(Z.shape[1] + 1))
    X = np.insert(Z, at, value, axis=1)
    factors = np.ones(X.shape[1])
    factors[at] = 0
    settings = pick(rng, {"l2": 0.0}, {"l2": 0.0}, {"l2": 1.0, "penalty_factors": factors}, {"l2": 1.0})
    return finished(rng, X, labels(rng, Z), fit_intercept=bool(rng.random() < 0.8), **settings)


@kind
def tiny_columns(rng: Generator) -> Problem:
    """Columns of 1e-160 or 1e-200: their squares underflow."""
    Z = normal(rng)
    units = 10.0 ** -rng.choice([100, 150, 160, 200, 300], size=Z.shape[1])
    if rng.random() < 0.5:
        units[0] = 1
    return finished(rng, Z * units, labels(rng, Z), **any_penalty(rng, Z.shape[1]))


@kind
def huge_columns(rng: Generator) -> Problem:
    """Columns of 1e100 to 1e150."""
    Z = normal(rng)
    return finished(rng, Z * 10 ** rng.uniform(50, 150), labels(rng, Z), l2=pick(rng, 0.0, 1.0))


@kind
def large_raw_columns(rng: Generator) -> Problem:
    """Amounts of 1e9 to 1e15, lognormal or normal, under the default penalty."""
    Z = normal(rng)
    X = power(rng, 6, 12) * (np.exp(Z) if rng.random() < 0.6 else Z)
    return finished(rng, X, labels(rng, Z), l2=pick(rng, 1.0, 1.0, 1e-3))


@kind
def tiny_penalty(rng: Generator) -> Problem:
    """l2 of 1e-14 to 1e-6 on raw columns."""
    Z = normal(rng)
    X = Z * 10 ** rng.uniform(-1, 5, size=Z.shape[1]) + pick(rng, 0.0, 5.0)
    return finished(rng, X, labels(rng, Z, strength=pick(rng, 1.0, 4.0)), l2=power(rng, -14, -6))


@kind
def outliers(rng: Generator) -> Problem:
    """One or a few rows of 1e6 to 1e11, such as codes for a missing value, often of one class."""
    n, p = int(pick(rng, rng.integers(10, 45), 120)), 2
    X = np.column_stack([rng.integers(18, 81, size=n), rng.normal(size=(n, p))]).astype(float)[:, : pick(rng, 1, p + 1)]
    y = labels(rng, (X[:, :1] - 50) / 20, 2)
    rows = rng.choice(n, rng.integers(1, 6), replace=False)
    X[rows, 0] = pick(rng, power(rng, 6, 11), 99999999999.0)
    y[rows] = pick(rng, np.ones(len(rows), int), y[rows])
    y[np.setdiff1d(np.arange(n), rows)[:2]] = 0, 1
    return finished(rng, X, y, l2=pick(rng, 0.0, 0.0, 1.0))


# -- collinear columns --------------------------------------------------------------------------------


@kind
def collinear_exactly(rng: Generator) -> Problem:
    """A column that is the sum of others, or twice one, in integers."""
    n, p = size(rng)
    X = rng.integers(-9, 10, size=(n, p)).astype(float)
    combined = pick(rng, X.sum(axis=1), 2 * X[:, 0], X[:, 0] + 1)
    settings = pick(rng, {"l2": 0.0}, {"l2": 0.0}, any_penalty(rng, p + 1))
    return finished(rng, np.column_stack([X, combined]), labels(rng, X / 5), **settings)


@kind
def collinear_to_rounding(rng: Generator) -> Problem:
    """Centimetres and inches, temperatures in two scales, shares that sum to 1."""
    Z = normal(rng)
    length = 170 + 10 * Z[:, 0]
    pair = pick(rng, length / 2.54, length * 1.8 + 32, length * 0.1, 1 - length / 1000)
    X = np.column_stack([length, pair, *Z.T[1:]])
    if rng.random() < 0.3:
        X = rng.dirichlet(np.ones(3), size=len(Z))
    return finished(rng, X, labels(rng, Z), l2=0.0)


@kind
def collinear_nearly(rng: Generator) -> Problem:
    """Columns that agree to 1e-6 up to 1e-16; the difference may be the label itself."""
    Z = normal(rng)
    y = labels(rng, Z)
    difference = pick(rng, rng.normal(size=len(Z)), y.astype(float), (y > 0) * 1.0)
    twin = Z[:, 0] + power(rng, -16, -6) * difference
    return finished(rng, np.column_stack([Z, twin]), y, l2=pick(rng, 0.0, 0.0, 1e-9, 1.0))


@kind
def one_hot_of_all_levels(rng: Generator) -> Problem:
    """An indicator of every level, which sum to the intercept's column."""
    n, levels = int(rng.integers(20, 60)), int(rng.integers(2, 5))
    codes = rng.integers(levels, size=n)
    X = (codes[:, None] == np.arange(levels)).astype(float)
    y = labels(rng, X)
    if rng.random() < 0.5:
        X = np.column_stack([X, rng.normal(size=n)])
    return finished(rng, X, y, **any_penalty(rng, X.shape[1]))


# -- offsets, weights, targets -------------------------------------------------------------------------


@kind
def large_offsets(rng: Generator) -> Problem:
    """Offsets of up to thousands: of one sign, of both, or constant."""
    Z = normal(rng)
    y = labels(rng, Z)
    shape = len(Z) if y.max() == 1 else (len(Z), int(y.max()) + 1)
    scale = power(rng, 1, 4)
    constant = np.full(shape, pick(rng, 720.0, -720.0, 1000.0))
    offset = pick(rng, constant, scale * rng.normal(size=shape), scale + rng.normal(size=shape))
    return replace(finished(rng, Z, y, **any_penalty(rng, Z.shape[1])), offset=offset)


@kind
def weight_ratios(rng: Generator) -> Problem:
    """Weights from 1e-6 to 1e6."""
    Z = normal(rng)
    weight = 10 ** rng.uniform(-6, 6, size=len(Z))
    strength = pick(rng, 1.0, 1.0, 5.0)
    return replace(finished(rng, Z, labels(rng, Z, strength=strength), **any_penalty(rng, Z.shape[1])), weight=weight)


@kind
def weight_of_two_kinds(rng: Generator) -> Problem:
    """Some rows of weight 1e-12 or 1e12, others of weight 1; the classes of the others may be separated."""
    Z = normal(rng)
    weight = np.where(rng.random(len(Z)) < 0.5, 1.0, pick(rng, 1e-12, 1e12))
    y = (Z[:, 0] > 0).astype(int)
    flip = rng.random(len(y)) < pick(rng, 0.0, 0.2)
    y[flip] = 1 - y[flip]
    y[:2] = 0, 1
    return replace(finished(rng, Z, y, **any_penalty(rng, Z.shape[1])), weight=weight)


@kind
def shares_of_classes(rng: Generator) -> Problem:
    """Shares, all positive."""
    Z = normal(rng)
    return finished(rng, Z, shares(rng, Z, pick(rng, 2, 3, 4)), **any_penalty(rng, Z.shape[1]))


@kind
def shares_with_empty_cells(rng: Generator) -> Problem:
    """Shares of a small table of factors, of which some cell is empty."""
    factors = np.stack(np.meshgrid(*[[0.0, 1.0]] * pick(rng, 1, 1, 2, 3), indexing="ij"), axis=-1)
    X = factors.reshape(-1, factors.shape[-1])
    classes = int(rng.integers(2, 5))
    counts = rng.integers(1, 10, size=(len(X), classes)) * (rng.random((len(X), classes)) > 0.25)
    counts[counts.sum(axis=1) == 0] = 1
    counts[0, counts.sum(axis=0) == 0] = 1
    total = counts.sum(axis=1)
    y = counts / total[:, None]
    if classes == 2:
        y = y[:, 1]
        if np.isin(y, [0, 1]).all():
            y[0] = 0.5
    made = replace(finished(rng, X, y, l2=pick(rng, 0.0, 0.0, 0.0, 0.0, 1.0)), offset=None)
    return replace(made, weight=total.astype(float))


@kind
def nearly_separated(rng: Generator) -> Problem:
    """One pair of rows of different classes, 1e-12 to 0.1 apart, keeps the classes from being separated."""
    n = int(rng.integers(6, 40))
    x = np.sort(pick(rng, rng.normal(size=n), np.arange(n) / 2, np.round(4 * rng.normal(size=n)) / 4))
    y = (np.arange(n) >= n // 2).astype(int)
    x[n // 2 - 1] = x[n // 2] + pick(rng, power(rng, -12, -1), power(rng, -12, -6), 0.0, -power(rng, -12, -1))
    X = x[:, None] if rng.random() < 0.5 else np.column_stack([x, rng.normal(size=n)])
    X = X * power(rng, -3, 3)
    return finished(rng, X, y, l2=pick(rng, 0.0, 0.0, 1e-8))


@kind
def separated(rng: Generator) -> Problem:
    """Completely or quasi-completely separated classes, with or without a penalty."""
    Z = normal(rng, p=int(rng.integers(1, 3)))
    classes = int(rng.integers(2, 4))
    y = np.digitize(Z[:, 0], np.quantile(Z[:, 0], np.arange(1, classes) / classes))
    if rng.random() < 0.5:
        level = rng.random(len(Z)) < 0.2
        level[0] = True
        y, Z = labels(rng, Z, classes), np.column_stack([Z, level])
        y[level] = 1
        y[~level.astype(bool) & (y == 1)] = 0 if rng.random() < 0.5 else 1
        y[np.flatnonzero(~level)[:classes]] = np.arange(classes)
    return finished(rng, Z * power(rng, -6, 6), y, l2=pick(rng, 0.0, 0.0, 1e-10, 1e-3))


@kind
def small_classes(rng: Generator) -> Problem:
    """Classes of one row each beside a large one."""
    Z = normal(rng, n=30, p=2)
    y = np.zeros(len(Z), int)
    classes = int(rng.integers(2, 4))
    y[rng.choice(len(Z), classes - 1, replace=False)] = np.arange(1, classes)
    return finished(rng, Z, y, **any_penalty(rng, 2))


@kind
def many_classes(rng: Generator) -> Problem:
    """Four to six classes."""
    Z = normal(rng, n=30, p=int(rng.integers(1, 3)))
    y = labels(rng, Z, int(rng.integers(4, 7)), strength=pick(rng, 0.5, 2.0))
    return finished(rng, Z * power(rng, -3, 3), y, **any_penalty(rng, Z.shape[1]))


@kind
def grouped(rng: Generator) -> Problem:
    """Few different rows, each many times, with fractional weights."""
    some = normal(rng, n=4, p=2)
    X = some[rng.integers(4, size=30)]
    return replace(
        finished(rng, X, labels(rng, X), **any_penalty(rng, 2)), weight=rng.exponential(size=30) * power(rng, -4, 4)
    )


# -- other settings --------------------------------------------------------------------------------------


@kind
def no_intercept(rng: Generator) -> Problem:
    """Columns through the origin."""
    Z = normal(rng)
    X = Z * power(rng, -6, 6) + pick(rng, 0.0, 0.0, 1e6)
    return finished(rng, X, labels(rng, Z), fit_intercept=False, **any_penalty(rng, Z.shape[1]))


@kind
def wide(rng: Generator) -> Problem:
    """Fewer rows than columns."""
    X = normal(rng, n=int(rng.integers(6, 10)), p=10) * power(rng, -3, 3)
    return finished(rng, X, labels(rng, X, 2), l2=power(rng, -6, 2))


@kind
def l1_on_raw_columns(rng: Generator) -> Problem:
    """l1, alone or with l2, on seconds, amounts and shares."""
    Z = normal(rng)
    X = Z * 10 ** rng.uniform(-6, 9, size=Z.shape[1])
    if rng.random() < 0.5:
        X[:, 0] = np.round(1.7e9 + Z[:, 0] * power(rng, 2, 6))
    return finished(rng, X, labels(rng, Z), l1=power(rng, -6, 2), l2=pick(rng, 0.0, 0.0, 1.0, 1e-6))


@kind
def bounded(rng: Generator) -> Problem:
    """Bounds on one or both sides."""
    Z = normal(rng)
    units = power(rng, -6, 6)
    low, high = pick(rng, (0.0, None), (None, 0.0), (-0.1 / units, 0.1 / units), (0.0, 0.5 / units))
    penalty = pick(rng, {"l2": 0.0}, {"l2": 1.0}, {"l2": 0.0, "l1": 1.0}, {"l2": 1e-3, "l1": 0.1})
    return finished(rng, Z * units, labels(rng, Z), bounds=(low, high), **penalty)


@kind
def free_and_penalised(rng: Generator) -> Problem:
    """Columns without a penalty beside penalised ones, in units and with means of their own."""
    Z = normal(rng, p=3)
    X = Z * 10 ** rng.uniform(-6, 6, size=3) + pick(rng, 0.0, 10 ** rng.uniform(0, 9, size=3))
    factors = rng.permutation([0.0, 1.0, pick(rng, 0.0, 2.0)])
    return finished(rng, X, labels(rng, Z), penalty_factors=factors, l2=pick(rng, 1.0, 1e-3), l1=pick(rng, 0.0, 0.1))


@kind
def gradient_steps(rng: Generator) -> Problem:
    """SGD, DoG, implicit SGD and SAGA: answers that are seldom near the minimum."""
    Z = normal(rng, n=20, p=2)
    units = pick(rng, 1.0, 1.0, power(rng, -3, 3), power(rng, 50, 150))
    rate = pick(rng, 0.05, 0.05, power(rng, -3, 150))
    steps = int(rng.integers(1, 30))
    method = pick(rng, SGD(learning_rate=rate, n_epochs=steps), DoG(), ImplicitSGD(), SAGA())
    made = finished(rng, Z * units, labels(rng, Z), l2=pick(rng, 0.0, 1.0))
    return replace(made, settings={**made.settings, "solver": method, "max_iter": steps})


# -- anything ----------------------------------------------------------------------------------------------


@kind
def mixed(rng: Generator) -> Problem:
    """Each column is of another kind."""
    n = int(rng.integers(10, 45))
    Z = normal(rng, n=n, p=int(rng.integers(2, 5)))
    columns: list[Array] = []
    for z in Z.T:
        unit = power(rng, -9, 9)
        last = columns[-1] if columns else z
        columns.append(
            pick(
                rng, z * unit, (z + power(rng, 3, 12)) * unit, np.full(n, unit), last + power(rng, -15, -3) * z,
                last * unit, np.where(np.arange(n) == 1, power(rng, 3, 11), z), (z > 1) * 1.0, np.exp(3 * z) * unit,
                np.round(1.7e9 + 1e5 * z), np.zeros(n),
            )
        )  # fmt: skip
    settings = pick(rng, any_penalty(rng, len(columns)), {"l2": 0.0}, {"l2": power(rng, -10, 2)})
    return finished(rng, np.stack(columns, axis=1), labels(rng, Z), **settings)


@kind
def rows_without_weight(rng: Generator) -> Problem:
    """Rows of weight 0 that hold anything."""
    Z = normal(rng)
    y, weight = labels(rng, Z), rng.integers(1, 4, size=len(Z)).astype(float)
    some = rng.choice(len(Z), len(Z) // 3, replace=False)
    X = Z.copy()
    X[some] *= power(rng, -20, 20)
    weight[some] = 0
    kept = np.setdiff1d(np.arange(len(Z)), some)
    y[kept[: y.max() + 1]] = np.arange(y.max() + 1)
    return replace(finished(rng, X, y, **any_penalty(rng, Z.shape[1])), weight=weight)


@kind
def shares_near_the_ends(rng: Generator) -> Problem:
    """Shares of 1e-300 to 1e-3, and 1 less such."""
    Z = normal(rng)
    p = 10 ** -rng.uniform(3, pick(rng, 6, 17, 300), size=len(Z))
    y = np.where(rng.random(len(Z)) < 0.5, p, 1 - p)
    if rng.random() < 0.3:
        y = np.where(rng.random(len(Z)) < 0.5, rng.random(len(Z)), y)
    y[0] = 0.5
    if rng.random() < 0.3:
        y = np.column_stack([y / 2, y / 2, 1 - y])
    return finished(rng, Z, y, **any_penalty(rng, Z.shape[1]))


@kind
def warm_started(rng: Generator) -> Problem:
    """A start at the answer for other labels, which may be far away."""
    Z = normal(rng)
    X, y = Z * power(rng, -6, 6) + pick(rng, 0.0, power(rng, 0, 9)), labels(rng, Z, strength=pick(rng, 1.0, 5.0))
    return finished(rng, X, y, warm_start=True, **any_penalty(rng, Z.shape[1]))


@kind
def paths(rng: Generator) -> Problem:
    """All penalties of a path."""
    Z = normal(rng)
    X = Z * 10 ** rng.uniform(-3, 3, size=Z.shape[1]) + pick(rng, 0.0, power(rng, 0, 10))
    l2s = 10 ** np.sort(rng.uniform(-6, 4, size=5))[::-1]
    made = finished(rng, X, labels(rng, Z))
    return replace(made, settings={"l2s": l2s, "tol": 1e-8, "choose": "alo"})


@kind
def chosen_penalty(rng: Generator) -> Problem:
    """l2="auto"."""
    Z = normal(rng, n=40)
    X = Z * power(rng, -6, 6) + pick(rng, 0.0, power(rng, 0, 9))
    made = finished(rng, X, labels(rng, Z))
    return replace(made, settings={"l2": "auto", "fit_intercept": bool(rng.random() < 0.8)})


@kind
def cancelled_offsets(rng: Generator) -> Problem:
    """Offsets of up to 1e12 that coefficients cancel."""
    Z = normal(rng)
    y = labels(rng, Z)
    shape = (Z.shape[1],) if y.max() == 1 else (Z.shape[1], int(y.max()) + 1)
    offset = Z @ rng.normal(size=shape) * power(rng, 0, 12) + power(rng, -3, 6)
    return replace(finished(rng, Z, y, l2=pick(rng, 0.0, 0.0, 1e-12)), offset=offset)


@kind
def extreme_penalties(rng: Generator) -> Problem:
    """l1 and l2 of 1e-300 to 1e30, and factors of 1e-20 to 1e20."""
    Z = normal(rng)
    X = Z * power(rng, -6, 6)
    strength = power(rng, *pick(rng, (-30, 30), (-300, -30), (-9, 9)))
    factors = pick(rng, np.ones(Z.shape[1]), 10 ** rng.uniform(-20, 20, size=Z.shape[1]))
    return finished(
        rng, X, labels(rng, Z), l2=pick(rng, strength, 0.0), l1=pick(rng, 0.0, 0.0, strength), penalty_factors=factors
    )


@kind
def columns_of_wide_range(rng: Generator) -> Problem:
    """Lognormal columns whose values differ by up to 1e60, of both signs."""
    Z = normal(rng)
    X = np.exp(rng.uniform(3, 30) * Z) * pick(rng, 1.0, rng.choice([-1.0, 1.0], size=Z.shape))
    return finished(rng, X, labels(rng, Z), **any_penalty(rng, Z.shape[1], l2=power(rng, -9, 9)))


@kind
def bounds_far_from_zero(rng: Generator) -> Problem:
    """Bounds on the coefficients of columns that are far from zero, some of them reached."""
    Z = normal(rng)
    units = power(rng, -6, 6)
    X = (Z + power(rng, 2, 12)) * units
    low, high = np.sort(rng.normal(size=(2, Z.shape[1])), axis=0) / units * power(rng, -2, 2)
    low, high = pick(rng, (low, high), (low, None), (None, high), (low, low), (np.zeros_like(low), None))
    return finished(rng, X, labels(rng, Z), bounds=(low, high), l2=pick(rng, 0.0, 1.0, 1e-9), l1=pick(rng, 0.0, 0.1))


@kind
def stopped_early(rng: Generator) -> Problem:
    """Few passes, tolerances from 1e-15 to a half, and eval_set."""
    Z = normal(rng)
    X = Z * 10 ** rng.uniform(-3, 3, size=Z.shape[1]) + pick(rng, 0.0, power(rng, 0, 10))
    y = labels(rng, Z, strength=pick(rng, 1.0, 5.0))
    made = finished(rng, X, y, **any_penalty(rng, Z.shape[1]))
    settings = {**made.settings, "tol": power(rng, -15, -0.3), "max_iter": int(rng.integers(1, 12))}
    return replace(made, settings=settings, watched=bool(rng.random() < 0.5))


@kind
def extreme_weights(rng: Generator) -> Problem:
    """All weights of 1e-250 or 1e250, or from one to the other."""
    Z = normal(rng)
    end = power(rng, 20, 250)
    weight = pick(rng, np.full(len(Z), end), np.full(len(Z), 1 / end), end ** rng.uniform(-1, 1, size=len(Z)))
    return replace(finished(rng, Z, labels(rng, Z), **any_penalty(rng, Z.shape[1])), weight=weight)


@kind
def larger_tables(rng: Generator) -> Problem:
    """Three hundred rows."""
    Z = normal(rng, n=300, p=2)
    X = Z * 10 ** rng.uniform(-6, 6, size=2) + pick(rng, 0.0, 10 ** rng.uniform(0, 9, size=2))
    return finished(rng, X, labels(rng, Z), **any_penalty(rng, 2))
