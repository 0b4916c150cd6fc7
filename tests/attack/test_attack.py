"""No claim about a fit is false: problems of every kind, judged in exact arithmetic.

A few of each kind here; thousands among the slow tests. `python scripts/attack.py` prints a table of more.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from mpmath import mp, mpf

from attack.exact import BITS, Exact
from attack.judge import MISSED, Verdict, judged
from attack.overlap import overlap
from attack.problems import KINDS, problem

FEW = {  # seeds of each kind; those given had a false claim once
    "far_means": (0, 8, 1),
    "counted_from_far": (2, 18, 1),
    "since_1970": (10, 34, 0),
    "tiny_spread": (0, 2, 15),
    "constant_column": (0, 3, 1),
    "tiny_columns": (21, 39, 0),
    "outliers": (11, 18, 10),
    "collinear_to_rounding": (0, 1, 2),
    "collinear_nearly": (0, 1, 2),
    "large_offsets": (3, 10, 0),
    "shares_with_empty_cells": (53, 85, 0),
    "nearly_separated": (11, 43, 4),
    "l1_on_raw_columns": (3, 50, 0),
    "free_and_penalised": (8, 9, 1),
    "gradient_steps": (34, 0, 1),
    "mixed": (2, 4, 8, 15),
    "warm_started": (1, 5, 0),
    "paths": (0, 39, 2),
    "chosen_penalty": (57, 22),
    "cancelled_offsets": (2000,),
    "bounds_far_from_zero": (0, 13, 22),
    "extreme_weights": (5, 1),
}
OTHERWISE = (0, 1)
MANY = range(1000, 1090)  # the seeds of each kind among the slow tests
LEAST = {  # the share of these that are certified at least; a certificate that says nothing is never wrong
    "gradient_steps": 0.0,
    "huge_columns": 0.25,
    "extreme_weights": 0.3,
    "nearly_separated": 0.33,
    "stopped_early": 0.33,
    "separated": 0.33,
    "columns_of_wide_range": 0.4,
    "large_raw_columns": 0.45,
    "collinear_nearly": 0.45,
    "cancelled_offsets": 0.45,
    "mixed": 0.5,
    "shares_with_empty_cells": 0.5,
    "tiny_penalty": 0.55,
    "collinear_to_rounding": 0.55,
}
USUALLY = 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_no_claim_is_false(kind: str) -> None:
    assert faults(verdicts(kind, FEW.get(kind, OTHERWISE))) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_claim_is_false_in_many_problems(kind: str) -> None:
    found = verdicts(kind, MANY)
    assert faults(found) == []
    assert sum(verdict.status == "certified" for verdict in found) >= LEAST.get(kind, USUALLY) * len(found)


def verdicts(kind: str, seeds: Iterable[int]) -> list[Verdict]:
    return [judged(problem(kind, seed)) for seed in seeds]


def faults(verdicts: list[Verdict]) -> list[str]:
    """What is wrong, with the kind and the seed of each problem."""
    return [
        f"{verdict.problem.kind} {verdict.problem.seed}, {verdict.status}: {fault.sort}: {fault.text}"
        for verdict in verdicts
        for fault in verdict.faults
        if fault.sort != MISSED
    ]


# -- the judge ------------------------------------------------------------------------------------------


def one_column(*, l2: float = 0.0, l1: float = 0.0, upper: float = np.inf) -> Exact:
    """Three rows of class 1 and one of class 0, x = 1, no intercept."""
    y, ones = np.array([[1.0], [1.0], [1.0], [0.0]]), np.ones((4, 1))
    penalty = {"l2": [mpf(l2)], "l1": [mpf(l1)], "lower": np.array([-np.inf]), "upper": np.array([upper])}
    return Exact(ones, y, np.ones(4), np.zeros((4, 1)), intercept=False, **penalty)


@pytest.mark.parametrize(
    ("settings", "share"),
    [({}, "0.75"), ({"l1": 0.5}, "0.625"), ({"l1": 1.0}, "0.5"), ({"l1": 3.0}, "0.5")],
)
def test_the_minimum_is_found_to_the_last_bit(settings: dict[str, float], share: str) -> None:
    """The derivative of the losses is 4 p - 3, which l1 holds at -l1, or at the kink."""
    function = one_column(**settings)
    with mp.workprec(BITS):
        p = mpf(share)
        minimum = -3 * mp.log(p) - mp.log(1 - p) + mpf(settings.get("l1", 0)) * mp.log(p / (1 - p))
        for start in ("-2", "0.1", "5"):
            value, _ = function.lower_value([[mpf(start)]])
            assert abs(value - minimum) < mpf(2) ** -190


def test_the_minimum_at_a_bound_is_found() -> None:
    function = one_column(upper=0.5)
    assert function.lower_value([[mpf(-1)]])[0] == function.value([[mpf("0.5")]])


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([0, 1, 2, 3], [0, 1, 0, 1], True),
        ([0, 1, 2, 3], [0, 0, 1, 1], False),
        ([0, 1, 1, 2], [0, 0, 1, 1], False),  # quasi-completely
        ([0, 0.5, 1 + 1e-9, 1, 1.5, 2], [0, 0, 0, 1, 1, 1], True),
        ([0, 1], [0.3, 0.0], False),
        ([0, 1], [0.3, 0.2], True),
    ],
)
def test_overlap_of_two_classes(x: list[float], y: list[float], expected: bool) -> None:
    X = np.column_stack([x, np.ones(len(x))])
    assert overlap(X, np.array(y, float)[:, None], np.zeros(2, int)) is expected


def test_overlap_of_three_classes_and_with_bounds() -> None:
    X, target = np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[0.5, 0.3, 0.2], [0.5, 0.5, 0.0]])
    assert not overlap(X, target, np.zeros(2, int))
    assert overlap(X[:1], target[:1], np.zeros(2, int))
    rising = np.array([[0.0], [0.0], [1.0], [1.0]])
    assert not overlap(np.array([[0.0, 1], [1, 1], [2, 1], [3, 1]]), rising, np.array([1, 0]))
    assert overlap(np.array([[0.0, 1], [1, 1], [2, 1], [3, 1]]), rising, np.array([-1, 0]))
