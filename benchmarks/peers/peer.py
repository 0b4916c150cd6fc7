"""The protocol of a peer, its result, and helpers that peers share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch

from benchmarks.problems import Array, Problem

PRECISIONS = ("float32", "float64")
LIBLINEAR_ENTRIES = 1e8  # entries of X: LIBLINEAR copies each into 16 bytes, and uses one thread
TIGHT = 1e-10  # a tolerance that is not met before the budget is spent


@dataclass(frozen=True)
class Fit:
    """A fitted model: coef (1 or K, p) and intercept (1 or K,), float64.

    ended: how the fit ended, for the table. settled: it ended by its own rule, so that a larger budget changes nothing.
    relative_bound: a bound on (F - F*) / F that the peer claims; None if it claims none. passes: over the rows, if it
    counts them; a pass is a product with X and one with X'. seconds: the time that counts, if not that of the whole
    call.
    """

    coef: Array
    intercept: Array
    ended: str
    settled: bool
    relative_bound: float | None = None
    passes: float | None = None
    seconds: float | None = None


class Peer(Protocol):
    """A library or solver that fits logistic regressions."""

    @property
    def name(self) -> str:
        """Its name in tables and options."""
        ...

    @property
    def note(self) -> str:
        """Its settings and what else readers of the table need to know; may be empty."""
        ...

    @property
    def budgets(self) -> tuple[float, ...]:
        """From the least effort to the most: counts, to which time is proportional, or tolerances below 1."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions of X to try; only its own where it would convert the other."""
        ...

    def cannot(self, problem: Problem) -> str | None:
        """Why it cannot fit this problem, in one phrase; None if it can."""
        ...

    def fit(self, problem: Problem, budget: float | None) -> Fit:
        """Fit within a budget, or with its default settings if that is None."""
        ...


def missing(module: str) -> str | None:
    """The reason to give if a package is not installed; None if it is."""
    return None if find_spec(module) else "not installed: pip install torchlogit[bench]"


def beyond(problem: Problem, entries: float) -> str | None:
    """The reason to give if X has more entries than this, which would take minutes; None if it has not."""
    return "would take many minutes" if problem.values.size > entries else None


def dense_only(problem: Problem) -> str | None:
    """The reason to give if X is sparse and the peer takes dense rows only; None if X is dense."""
    return "takes no sparse rows" if problem.sparse else None


def liblinear_cannot(problem: Problem) -> str | None:
    """Why LIBLINEAR, in any package, cannot fit this problem; None if it can."""
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
    """A torch parameter as a float64 array."""
    values: Array = array.detach().to(torch.float64).numpy()
    return values


def row(coef: object, intercept: object) -> tuple[Array, Array]:
    """The coefficients (1, p) and the intercept (1,) of a two-class model."""
    return np.asarray(coef, dtype=np.float64).reshape(1, -1), np.asarray(intercept, dtype=np.float64).reshape(1)
