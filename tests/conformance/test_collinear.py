"""Relations among columns: which are found, with which factors, and whether they hold exactly or up to rounding."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray

from torchlogit.collinear import COLLINEAR, relations
from torchlogit.design import Dense, Sparse, Streamed
from torchlogit.losses import Logistic, Softmax
from torchlogit.objective import Objective
from torchlogit.penalties import ElasticNet
from torchlogit.records import Relation

Array = NDArray[np.float64]
N = 400
RNG = np.random.default_rng(11)
A, B, C = RNG.uniform(1, 2, size=(3, N))
LABEL = np.arange(N) % 2 == 0
CM = RNG.uniform(150, 200, N).round(1)
SHARES = (parts := RNG.random((N, 4))) / parts.sum(axis=1, keepdims=True)
LEVELS = np.eye(4)[RNG.integers(0, 4, N)]
TIME = 1.7e9 + RNG.uniform(0, 3e4, N)


def objective(*columns: Array, kind: str = "dense", intercept: bool = True, **settings: Any) -> Objective:
    x = np.column_stack(columns)
    design = {
        "dense": lambda: Dense.of(torch.from_numpy(x), intercept=intercept),
        "float32": lambda: Dense.of(torch.from_numpy(x).float(), intercept=intercept),
        "compiled": lambda: Dense(torch.from_numpy(x), intercept, compiled=True),
        "sparse": lambda: Sparse.of(scipy.sparse.csr_array(x), intercept=intercept),
        "streamed": lambda: Streamed.of(lambda: iter(np.split(x.astype(np.float32), 4)), intercept=intercept),
    }[kind]()
    target = torch.from_numpy(LABEL.astype(float))[:, None]
    return Objective.of(design, target, **{"loss": Logistic(), "penalty": ElasticNet(), **settings})


def shown(found: tuple[Relation, ...]) -> list[tuple[int, dict[int, float], bool]]:
    """The relations with factors rounded to 8 digits."""
    return [(r.column, {j: float(f"{factor:.8g}") for j, factor in r.others}, r.exact) for r in found]


CASES: dict[str, tuple[tuple[Array, ...], list[tuple[int, dict[int, float], bool]]]] = {
    "independent": ((A, B, C), []),
    "duplicate": ((A, B, A), [(2, {0: 1.0}, True)]),
    "twice the negative": ((A, -2 * A), [(1, {0: -2.0}, True)]),
    "one-hot of all levels": ((A, *LEVELS.T), [(4, {1: -1.0, 2: -1.0, 3: -1.0, 5: 1.0}, True)]),
    "constant": ((A, np.full(N, 3.7)), [(1, {2: 3.7}, True)]),
    "a factor of few digits": ((np.round(CM), np.round(CM) * 0.3125), [(1, {0: 0.3125}, True)]),
    "a factor that makes products round": ((np.round(CM), np.round(CM) * 0.3), [(1, {0: 0.3}, False)]),
    "a factor of many digits": ((LEVELS[:, 0], LEVELS[:, 0] * np.pi), [(1, {0: 3.1415927}, True)]),
    "zero": ((np.zeros(N), A), [(0, {}, True)]),
    "cm and inch": ((CM, CM / 2.54), [(1, {0: float(f"{1 / 2.54:.8g}")}, False)]),
    "Celsius and Fahrenheit": ((A, CM, CM * 9 / 5 + 32), [(2, {1: 1.8, 3: 32.0}, False)]),
    "shares": (tuple(SHARES.T), [(3, {0: -1.0, 1: -1.0, 2: -1.0, 4: 1.0}, False)]),
    "sum": ((A, B, A + B), [(2, {0: 1.0, 1: 1.0}, False)]),
    "within 64 eps": ((A, A + 1e-14 * LABEL), [(1, {0: 1.0}, False)]),
    "beyond 64 eps": ((A, A + 1e-13 * LABEL), []),
    "nearly collinear": ((A, A + 1e-10 * B), []),
    "nearly collinear, and its difference": ((A, B, A + 1e-7 * B), [(2, {0: 1.0, 1: 1e-7}, False)]),
    "copies of nearly collinear columns": (
        (A, A + 1e-7 * B, A + 1e-6 * C, A + 1e-7 * B, A + 1e-6 * C),
        [(3, {1: 1.0}, True), (4, {2: 1.0}, True)],
    ),
    "copies in the last digits": (
        (A, A + 1e-6 * B, A + 1e-12 * C, A + 1e-12 * C), [(3, {2: 1.0}, True)],
    ),
    "rows near zero": ((A - 1.5, A - 1.5 + 1e-14 * LABEL), []),
    "times": ((TIME, A), []),
    "the same times": ((TIME, A, TIME), [(2, {0: 1.0}, True)]),
    "columns of many sizes": ((1e-30 * A, 1e30 * B, 1e-30 * A + 1e-31 * C, C), [(3, {0: -1e31, 2: 1e31}, False)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["dense", "compiled", "sparse"])
@pytest.mark.parametrize("name", CASES)
def test_finds_the_relations(name: str, kind: str) -> None:
    columns, expected = CASES[name]
    assert shown(relations(objective(*columns, kind=kind))) == expected


@pytest.mark.parametrize("kind", ["float32", "streamed"])
def test_single_precision(kind: str) -> None:
    found = relations(objective(A, *LEVELS.T, 2 * A, A.astype(np.float32) + 1e-8, A + B, kind=kind))
    assert shown(found) == [
        (4, {1: -1.0, 2: -1.0, 3: -1.0, 8: 1.0}, True),
        (5, {0: 2.0}, True),
        (6, {0: 1.0}, True),  # float32 does not hold 1e-8 beside 1
    ]  # A + B is rounded to 6e-8: in float64 it is a column of its own


def test_weights_make_no_difference() -> None:
    columns = (A, B, A + B, A + 1e-10 * C)
    weight = torch.from_numpy(10.0 ** RNG.uniform(-6, 6, N))
    assert relations(objective(*columns, weight=weight)) == relations(objective(*columns))


def test_rows_without_weight_do_not_count() -> None:
    weight, other = np.ones(N), A.copy()
    weight[:7], other[:7] = 0, 5.0
    assert relations(objective(A, other)) == ()
    assert shown(relations(objective(A, other, weight=torch.from_numpy(weight)))) == [(1, {0: 1.0}, True)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((A, TIME), []),
        ((A, TIME, TIME), [(2, {1: 1.0}, True)]),
                ((TIME, A, TIME - 1.7e9), [(2, {0: 1.0, 3: -1.7e9}, False)]),
        ((TIME, TIME + 1e-8 * A), [(1, {0: 1.0}, True)]),  # float64 does not hold 1e-8 beside 1.7e9
        ((np.full(N, 3.7), A), [(0, {2: 3.7}, True)]),
        ((A, np.where(LABEL, 3.7, 3.7 + 4e-16)), [(1, {2: 3.7}, False)]),
        ((A, 1e-160 * B, 3e-160 * B), [(2, {1: 3.0}, False)]),
    ],
)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_relations_of_conditioned_columns_are_for_those_as_given(
    columns: tuple[Array, ...], expected: list[tuple[int, dict[int, float], bool]], kind: str
) -> None:
    conditioned = objective(*columns, kind=kind).conditioned()
    assert conditioned.conditioning is not None
    assert shown(relations(conditioned)) == expected


def test_the_same_times_in_another_unit() -> None:
    (relation,) = relations(objective(TIME, TIME / 1000).conditioned())
    factors = dict(relation.others)
    assert relation.column == 1
    assert abs(factors[0] - 1e-3) < 1e-11
    assert abs(TIME / 1000 - factors[0] * TIME - factors[2]).max() < 1e-13 * 1.7e6


def test_several_classes_have_the_same_relations() -> None:
    x = np.column_stack([A, *LEVELS.T])
    target = torch.nn.functional.one_hot(torch.arange(N) % 3).double()
    softmax = Objective.of(Dense.of(torch.from_numpy(x)), target, loss=Softmax(3), penalty=ElasticNet())
    assert relations(softmax) == relations(objective(A, *LEVELS.T))


def test_columns_of_zeros_and_of_squares_that_underflow() -> None:
    found = relations(objective(np.zeros(N), A, 1e-200 * B, 1e-200 * B, np.zeros(N)))
    assert shown(found) == [(0, {}, True), (4, {}, True)]


def test_without_columns_that_are_free() -> None:
    assert relations(objective(A, intercept=False, penalty=ElasticNet(l2=1.0))) == ()


def test_without_an_intercept() -> None:
    found = relations(objective(np.full(N, 2.0), A, np.full(N, 3.0), intercept=False))
    assert shown(found) == [(2, {0: 1.5}, True)]


@pytest.mark.parametrize(
    "penalty",
    [
        ElasticNet(l2=1e-9),
        ElasticNet(l1=0.1),
        ElasticNet(l2=1.0, factors=torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)),
        ElasticNet(lower=torch.tensor([-torch.inf, -torch.inf, 0.0], dtype=torch.float64)),
    ],
)
def test_penalised_and_bounded_columns_are_determined(penalty: ElasticNet) -> None:
    assert relations(objective(A, B, A, penalty=penalty)) == ()
    assert relations(objective(A, B, A)) != ()


def test_wide_tables_have_a_relation_for_each_column_too_many() -> None:
    columns = RNG.standard_normal((60, N))
    x = torch.from_numpy(columns[:, :40].T.copy())  # 40 rows, 60 columns
    wide = Objective.of(Dense.of(x), torch.ones(40, 1), loss=Logistic(), penalty=ElasticNet())
    found = relations(wide)
    assert len(found) == 61 - 40
    everything = np.column_stack([x.numpy(), np.ones(40)])
    for relation in found:
        terms = np.column_stack([factor * everything[:, j] for j, factor in relation.others])
        column = everything[:, relation.column]
        size = abs(column) + abs(terms).sum(axis=1)
        assert (abs(column - terms.sum(axis=1)) <= 2 * COLLINEAR * size).all()


def test_factors_are_right_to_the_last_digits() -> None:
    ((_, factor),) = relations(objective(CM, CM / 2.54))[0].others
    assert abs(factor * 2.54 - 1) < 4e-16


def test_relations_of_whole_numbers_are_exact() -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(-3, 4, (N, 30)).astype(float)
    mixed = x @ rng.integers(-2, 3, (30, 8))
    found = relations(objective(*x.T, *mixed.T))
    assert [relation.column for relation in found] == list(range(30, 38))
    assert all(relation.exact for relation in found)
    for relation in found:
        combination = sum(factor * x[:, j] for j, factor in relation.others)
        np.testing.assert_array_equal(combination, mixed[:, relation.column - 30])


# In exact arithmetic


def rank(columns: Iterable[Array]) -> int:
    """The rank of these columns over the rationals."""
    rows, found = [list(map(Fraction, column)) for column in columns], 0
    for j in range(len(rows[0])):
        pivot = next((i for i in range(found, len(rows)) if rows[i][j]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        for i in range(found + 1, len(rows)):
            if rows[i][j]:
                share = rows[i][j] / rows[found][j]
                rows[i] = [a - share * b for a, b in zip(rows[i], rows[found], strict=True)]
        found += 1
        if found == len(rows):
            break
    return found


def some_columns(rng: np.random.Generator, noise: float) -> Array:
    """Columns of one of several kinds, combinations of them that are exact, rounded or nearly so, and constants."""
    n, p = int(rng.integers(8, 30)), int(rng.integers(1, 6))
    base = [
        lambda: rng.standard_normal((n, p)),
        lambda: rng.integers(-3, 4, (n, p)).astype(float),
        lambda: rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-12, 12, p),
        lambda: 1e9 * (1 + 1e-6 * rng.standard_normal((n, p))),
        lambda: np.exp(5 * rng.standard_normal((n, p))),
        lambda: rng.uniform(0, 1, (n, p)).round(2),
    ][rng.integers(0, 6)]()
    columns = [*base.T]
    for _ in range(int(rng.integers(0, 4))):
        factors = rng.integers(-2, 3, p).astype(float) if rng.random() < 0.6 else rng.standard_normal(p)
        columns.append((base @ factors + rng.choice([0, 0, 1.0, 3.7, 100.0])) * (1 + noise * rng.standard_normal(n)))
    columns += [np.full(n, rng.choice([3.7, 1e9 / 3, 2.0]))] if rng.random() < 0.3 else []
    columns += [base[:, 0]] if rng.random() < 0.3 else []
    return np.column_stack(columns)[:, rng.permutation(len(columns))]


@pytest.mark.parametrize("first", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(100, 3000, 100))])
def test_relations_hold_in_exact_arithmetic(first: int) -> None:
    for seed in range(first, first + (40 if first == 0 else 100)):
        rng = np.random.default_rng(seed)
        noise = float(rng.choice([0, 0, 1e-16, 1e-13, 1e-10, 1e-7]))
        x = some_columns(rng, noise)
        y = torch.from_numpy((np.arange(len(x)) % 2.0)[:, None])
        kind = rng.choice(["dense", "sparse"])
        design = Dense.of(torch.from_numpy(x)) if kind == "dense" else Sparse.of(scipy.sparse.csr_array(x))
        given = Objective.of(design, y, loss=Logistic(), penalty=ElasticNet())
        found = relations(given.conditioned() if rng.random() < 0.5 else given)
        columns = [*x.T, np.ones(len(x))]
        for relation in found:
            terms = [[Fraction(factor) * Fraction(v) for v in columns[j]] for j, factor in relation.others]
            for i, value in enumerate(columns[relation.column]):
                parts = [term[i] for term in terms]
                size = abs(Fraction(value)) + sum(map(abs, parts))
                allowed = Fraction(1.5 * COLLINEAR) * size  # factors for the columns as given are rounded once more
                assert abs(Fraction(value) - sum(parts)) <= allowed, (seed, relation)
            if relation.exact:
                others = [columns[j] for j, _ in relation.others]
                assert not others or rank(others) == rank([*others, columns[relation.column]]), (seed, relation)
        # Combinations of columns that are themselves nearly combinations of others may not be told from them.
        assert noise or len(found) >= len(columns) - rank(columns), seed
