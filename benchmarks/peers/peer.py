"""What a peer is, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch

from benchmarks.problems import Array, Problem

PRECISIONS = ("float32", "float64")
LIBLINEAR_ENTRIES = 1e8  # of X: it copies each into 16 bytes, and uses one thread
TIGHT = 1e-10  # a tolerance that leaves the decision to the budget


@dataclass(frozen=True)
class Fit:
    """An answer: coef (1 or K, p) and intercept (1 or K,), float64.

    ended: in the peer's own words. settled: it stopped by its own rule, so that a larger budget changes nothing.
    relative_bound: how far it claims to be from the optimum at most, relative to F; None where it makes no claim.
    passes: over the rows, where it counts them; one is a product with X and one with X'. seconds: where not all of the
    call is to be timed, what is.
    """

    coef: Array
    intercept: Array
    ended: str
    settled: bool
    relative_bound: float | None = None
    passes: float | None = None
    seconds: float | None = None


class Peer(Protocol):
    """Someone who can fit a logistic regression."""

    @property
    def name(self) -> str:
        """The name it goes by in tables and options."""
        ...

    @property
    def note(self) -> str:
        """What a reader of the table has to know, or nothing."""
        ...

    @property
    def budgets(self) -> tuple[float, ...]:
        """From the least effort to the most: counts, which take time in proportion, or tolerances, below 1."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """Of X, to be tried: the one it works in, where it would only convert the other."""
        ...

    def cannot(self, problem: Problem) -> str | None:
        """Why it cannot do this problem, in one phrase, or None."""
        ...

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Its answer within a budget, or, where that is None, with its default settings."""
        ...


def missing(module: str) -> str | None:
    """What to say where a peer's package is not there, or None."""
    return None if find_spec(module) else "not installed: pip install torchlogit[bench]"


def beyond(problem: Problem, entries: float) -> str | None:
    """What to say where X has more entries than a peer gets through in minutes, or None."""
    return "would take many minutes" if problem.values.size > entries else None


def dense_only(problem: Problem) -> str | None:
    """What to say where X is sparse and a peer takes no such, or None."""
    return "takes no sparse rows" if problem.sparse else None


def liblinear_cannot(problem: Problem) -> str | None:
    """Why LIBLINEAR, in whichever package, cannot do this problem, in one phrase, or None."""
    if problem.n_classes > 2:
        return "no softmax"
    if problem.l1 and problem.l2:
        return "l1 or l2, not both"
    if not (problem.l1 or problem.l2):
        return "always penalises"
    return beyond(problem, LIBLINEAR_ENTRIES)


def counts(*first: float, last: float) -> tuple[float, ...]:
    """These counts, then 1, 2, 5, 10, ... up to the last.

    >>> counts(2, 3, last=20)
    (2, 3, 5.0, 10.0, 20.0)
    """
    decades = (mantissa * 10.0**power for power in range(math.ceil(math.log10(last)) + 1) for mantissa in (1, 2, 5))
    return first + tuple(count for count in decades if max(first, default=0) < count <= last)


def float64(array: torch.Tensor) -> Array:
    """A parameter of torch as an array."""
    values: Array = array.detach().to(torch.float64).numpy()
    return values


def row(coef: object, intercept: object) -> tuple[Array, Array]:
    """The coefficients (1, p) and the intercept (1,) of two classes."""
    return np.asarray(coef, dtype=np.float64).reshape(1, -1), np.asarray(intercept, dtype=np.float64).reshape(1)
