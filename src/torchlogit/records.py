"""Frozen records that several rooms of the package exchange (docs/architecture.md).

torch is imported for type checking only, so that a model file can be read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class Status(StrEnum):
    """How a fit ends: one word, the same in code, files and output (docs/architecture.md)."""

    CERTIFIED = "certified"  # the bound on F - min F is as small as `tol` asks
    BUDGET = "budget"  # a budget was spent, or the fit was stopped, before the bound was small enough
    SEPARATED = "separated"  # it is proven that F has no finite minimum
    UNCERTIFIABLE = "uncertifiable"  # no further step helps, and the bound is too large or there is none
    DIVERGED = "diverged"  # F or a parameter became infinite or NaN


@dataclass(frozen=True, slots=True)
class Params:
    """Coefficients (n_features, n_outputs) and intercepts (n_outputs,), float64.

    n_outputs is 1 for two classes (one logit) and K for K > 2 classes (softmax).
    """

    coef: torch.Tensor
    intercept: torch.Tensor


@dataclass(frozen=True, slots=True)
class Separation:
    """A proof that the classes are separated, so that F has no finite minimum.

    The coefficients and intercepts named are those that go to infinity however F approaches its infimum. Others may go
    to infinity too, with a sign that the data do not determine.

    Attributes
    ----------
    complete : bool
        Whether some linear predictor has every row strictly on its right side; otherwise some rows lie on the boundary.
    directions : tuple of (feature, output, sign)
        The coefficients that go to sign * infinity.
    intercepts : tuple of (output, sign)
        The intercepts that go to sign * infinity.
    """

    complete: bool
    directions: tuple[tuple[int, int, int], ...]
    intercepts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """A linear relation among the columns of X: column = sum of factor * other over `others`, in every row.

    Attributes
    ----------
    column : int
        The column, numbered from 0; n_features stands for the constant column of the intercept.
    others : tuple of (column, factor)
        The columns that it is a combination of; empty for a column of zeros.
    exact : bool
        Whether the relation was verified to hold exactly; otherwise it holds up to rounding.
    """

    column: int
    others: tuple[tuple[int, float], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class StopReason:
    """Why a fit ended before its goal was met, in phrases that `Certificate.message` joins; empty ones are left out.

    cause: what ended the fit. answer: which step's coefficients are returned, where they are not the last step's.
    known: what is known of the answer where no bound was sought, such as a stream's log loss. remedy: what would help,
    which is not part of the message.
    """

    cause: str = ""
    answer: str = ""
    known: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A bound on how far F at the answer is above its minimum, or why there is none.

    Attributes
    ----------
    status : Status
        How the fit ended.
    objective : float
        F(w), in nats.
    bound : float or None
        F(w) - min F <= bound, in nats; None where no bound is known.
    separation : Separation or None
        The proof that F has no finite minimum.
    reason : StopReason or None
        Why the fit ended; None if it met its goal, or if the classes are separated.
    collinear : tuple of Relation
        The relations among columns that the bound takes as exact although they hold only up to rounding.

    Examples
    --------
    >>> Certificate(Status.BUDGET, 10.0, 0.5, reason=StopReason("interrupted")).message
    'interrupted; at most 0.5 nats above the minimum'
    """

    status: Status
    objective: float
    bound: float | None
    separation: Separation | None = None
    reason: StopReason | None = None
    collinear: tuple[Relation, ...] = ()

    @property
    def message(self) -> str:
        """One sentence on why the fit ended and what is known about its answer."""
        reason = self.reason or StopReason()
        phrases = (reason.cause, reason.answer, reason.known or self._known())
        return "; ".join(phrase for phrase in phrases if phrase)

    def _known(self) -> str:
        if self.separation is not None:
            kind = "completely" if self.separation.complete else "quasi-completely"
            proof = f"the classes are {kind} separated, and coefficients run off to infinity"
            return f"no finite minimum exists: {proof}"
        if self.status is Status.DIVERGED:
            return ""
        if self.status is Status.CERTIFIED:
            equal = ", taking columns that agree to rounding as equal" if self.collinear else ""
            return f"at most {self.bound:.1e} nats above the minimum, proven ({self.relative_bound:.1e} of it){equal}"
        if self.bound is not None:
            return f"at most {self.bound:.3g} nats above the minimum"
        return "no bound yet" if self.status is Status.BUDGET else "no bound is known"

    @property
    def relative_bound(self) -> float | None:
        """bound / F(w), or None without a bound."""
        if self.bound is None:
            return None
        return self.bound / self.objective if self.objective > 0 else (0.0 if self.bound == 0 else float("inf"))

    @property
    def standard_errors(self) -> float | None:
        """sqrt(2 bound), or None without a bound.

        To second order, no coefficient is further from its optimum than this number of its standard errors.
        """
        return None if self.bound is None else float((2.0 * self.bound) ** 0.5)


Snapshot = Mapping[str, Any]  # a solver's variables by name: tensors, numbers, text, None, lists and mappings of these


@dataclass(frozen=True, slots=True)
class State:
    """What a solver yields after each step.

    Attributes
    ----------
    params : Params
        The parameters after the step.
    passes : float
        Passes over the rows so far; a pass is one product with X and one with X'.
    objective : float
        F at params, in nats.
    expected_gap : float or None
        The solver's own estimate of F - min F, if it has one.
    raw : (n, n_outputs) or None
        The raw prediction at params, if the solver has it. It is valid until the next state is requested.
    dual_residual : (n, n_outputs) or None
        A dual point q, as q - target. It comes from a step that solved the Newton equation for all rows, or is the
        point of a dual method.
    expected_bound : float or None
        The bound that this dual point is expected to give, if the solver knows it.
    snapshot : callable or None
        Returns the solver's variables, from which it can continue with the same bits. They are references, valid until
        the next state is requested.
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
class Answer:
    """Parameters, their certificate, and the passes after which they were reached."""

    params: Params
    certificate: Certificate
    passes: float


@dataclass(frozen=True, slots=True)
class Step:
    """An entry of a fit's history: passes and seconds since the start, F and its bound (None without one) in nats."""

    passes: float
    seconds: float
    objective: float
    bound: float | None


@dataclass(frozen=True, slots=True)
class FitProgress:
    """The argument of a fit's monitors after each step: the step, and the parameters after it."""

    step: Step
    params: Params


Shown = TypeVar("Shown")
Monitor: TypeAlias = Callable[[Shown], bool | None]
"""Called after each step of a fit (with a `FitProgress`) or each block of a stream (with a `StreamProgress`).

If it returns True, the fit or the stream ends, and the answer so far is returned.
"""


@dataclass(frozen=True, slots=True)
class FitResult:
    """The result of a fit: the parameters, their certificate, and the history of steps."""

    params: Params
    certificate: Certificate
    history: tuple[Step, ...]

    @property
    def passes(self) -> float:
        """The total number of passes over the rows."""
        return self.history[-1].passes if self.history else 0.0

    @property
    def seconds(self) -> float:
        """The total time in seconds."""
        return self.history[-1].seconds if self.history else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """What a stream needs to continue: facts as JSON values, and float64 arrays by their names in model files."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[np.float64]]
