"""Frozen records that several packages exchange; docs/architecture.md says which.

torch is imported for type checking only, so that a model file can be read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Status(StrEnum):
    """How a fit ends: one word, the same in code, files and output (docs/architecture.md)."""

    CERTIFIED = "certified"
    BUDGET = "budget"
    SEPARATED = "separated"
    UNCERTIFIABLE = "uncertifiable"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True)
class Params:
    """A point: `coef` (n_features, n_outputs) and `intercept` (n_outputs,), float64.

    n_outputs is 1 for two classes (one logit) and K for K > 2 classes (softmax).
    """

    coef: torch.Tensor
    intercept: torch.Tensor


@dataclass(frozen=True, slots=True)
class Separation:
    """A proof that no finite minimum exists.

    `directions`: (feature, output, sign) of every coefficient that runs off to sign * infinity.
    `complete`: every row is classified with a margin; otherwise some rows stay on the boundary.
    """

    complete: bool
    directions: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a fit ended before its goal was met, in phrases that `Certificate.message` joins; empty ones are left out.

    cause: what ended the fit. answer: which step's coefficients are returned, where they are not the last step's.
    known: what is known of the answer where no bound was sought, such as a stream's log loss.
    """

    cause: str = ""
    answer: str = ""
    known: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """How far F(w) is from its minimum: F(w) - min F <= bound, in nats (the scale of F); None: no bound.

    relative_bound = bound / F(w); standard_errors = sqrt(2 bound): to second order no coefficient is
    further than that many standard errors from its optimum. reason: why the fit ended, None where its goal was met,
    or the classes are separated. `message` says in one sentence what holds.

    >>> Certificate(Status.BUDGET, 10.0, 0.5, reason=StopReason("interrupted")).message
    'interrupted; at most 0.5 nats above the minimum'
    """

    status: Status
    objective: float
    bound: float | None
    separation: Separation | None = None
    reason: StopReason | None = None

    @property
    def message(self) -> str:
        """Why the fit ended, and what is known of its answer."""
        reason = self.reason or StopReason()
        phrases = (reason.cause, reason.answer, reason.known or self._known())
        return "; ".join(phrase for phrase in phrases if phrase)

    def _known(self) -> str:
        if self.separation is not None:
            kind = "completely" if self.separation.complete else "quasi-completely"
            proof = f"the classes are {kind} separated, and the coefficients run off to infinity"
            return f"no finite minimum exists: {proof}"
        if self.status is Status.DIVERGED:
            return ""
        if self.status is Status.CERTIFIED:
            return f"proven within {self.relative_bound:.1e} of the minimum, relative to it"
        return "no bound yet" if self.bound is None else f"at most {self.bound:.3g} nats above the minimum"

    @property
    def relative_bound(self) -> float | None:
        """bound / F(w), or None where there is no bound."""
        if self.bound is None:
            return None
        return self.bound / self.objective if self.objective > 0 else (0.0 if self.bound == 0 else float("inf"))

    @property
    def standard_errors(self) -> float | None:
        """sqrt(2 bound), or None where there is no bound."""
        return None if self.bound is None else float((2.0 * self.bound) ** 0.5)


Snapshot = Mapping[str, Any]  # all that moves in a solver: tensors, numbers, text, None, in lists and mappings by name


@dataclass(frozen=True, slots=True)
class State:
    """What a solver yields after each step.

    params: the point reached. passes: readings of all rows so far (one product with X and one with X').
    objective: F there, in nats. expected_gap: the solver's own guess of F - min F, None if it has none.
    raw: the raw prediction there, where the solver has it at hand, (n, n_outputs). dual_residual: where the step
    solved the Newton equation of all rows, the dual point that it hands over, (n, n_outputs), or the dual point that a
    dual method is at. expected_bound: what that dual point should prove, where the solver knows. snapshot: gives what
    the solver goes on from, to the same bits, by reference; like raw, it is of this state until the next is asked for.
    """

    params: Params
    passes: float
    objective: float
    expected_gap: float | None = None
    raw: torch.Tensor | None = field(default=None, repr=False)
    dual_residual: torch.Tensor | None = field(default=None, repr=False)
    expected_bound: float | None = None
    snapshot: Callable[[], Snapshot] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the history: objective and bound in nats, passes over the rows and seconds since the start."""

    passes: float
    seconds: float
    objective: float
    bound: float | None


@dataclass(frozen=True, slots=True)
class FitProgress:
    """What a monitor of a fit is shown after each step: the step, and the parameters that it reached."""

    step: Step
    params: Params


Shown = TypeVar("Shown", contravariant=True)


class Monitor(Protocol[Shown]):
    """Called after each step of a fit (with a `FitProgress`) or each block of a stream (with a `StreamProgress`)."""

    def __call__(self, progress: Shown, /) -> bool | None:
        """True to ask for the end: the answer so far is then returned."""
        ...


@dataclass(frozen=True, slots=True)
class FitResult:
    """The answer: where it is, how far from the optimum, and how it was reached."""

    params: Params
    certificate: Certificate
    history: tuple[Step, ...]

    @property
    def passes(self) -> float:
        """Passes over the rows, in all."""
        return self.history[-1].passes if self.history else 0.0

    @property
    def seconds(self) -> float:
        """Seconds, in all."""
        return self.history[-1].seconds if self.history else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """What a stream needs to go on learning: facts as JSON values, and float64 arrays by their names in model files."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[np.float64]]
