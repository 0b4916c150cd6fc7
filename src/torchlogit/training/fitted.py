"""Fitted: the outcome of training, with everything that is saved, printed or continued from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from torchlogit.inference import Covariance, Refusal
from torchlogit.path import By, PathPoint
from torchlogit.penalties import ElasticNet
from torchlogit.records import Certificate, Params, Step
from torchlogit.solvers import Solver
from torchlogit.streaming.progressive import Progressive
from torchlogit.training.settings import OnePassSolver

if TYPE_CHECKING:
    from torchlogit.training.running_stream import RunningStream

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ValidationStep:
    """The mean log loss on the validation rows after a step.

    passes: readings of the training rows. seconds: since the fit began.
    """

    passes: float
    seconds: float
    log_loss: float


@dataclass(frozen=True, slots=True, eq=False)
class StartingPoint:
    """An earlier model that training begins from.

    coef (n_features, n_outputs), intercept (n_outputs,): in the columns' own units. weight: that of the rows behind
    them, None where no rows are known. l2: of the penalty, None where unknown. stream: of a model learned in one pass.
    """

    coef: Array
    intercept: Array
    classes: NDArray[Any]
    weight: float | None = None
    l2: float | None = None
    stream: RunningStream | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A trained model.

    coef (n_features, n_outputs), intercept (n_outputs,): float64, in the columns' own units. center (n_features,): what
    was subtracted from the columns while fitting; the covariance is that of the centred columns' coefficients.
    classes (n_classes,): labels. passes: readings of all rows. penalty: the one that was used, its l2 a number.
    has_intercept, tol, solver: of the settings; the solver None where there was no fit. rows: number of training rows,
    their weight and a fingerprint, None where no rows are known. path, chosen_by: the penalties that were tried, where
    l2 was chosen. validation_history: the log loss on the validation rows after each step. stopped_early: whether they
    ended the fit.

    Of one pass: stream, which can go on; progressive: its errors on rows that it had not seen; expected_excess: the log
    loss per unit of weight by which it is expected to miss the best linear model, in nats, None where unknown.
    """

    coef: Array
    intercept: Array
    center: Array
    classes: NDArray[Any]
    certificate: Certificate
    history: tuple[Step, ...]
    passes: float
    penalty: ElasticNet
    has_intercept: bool
    tol: float
    solver: Solver | OnePassSolver | None
    rows: dict[str, Any] | None
    covariance: Covariance | Refusal
    path: tuple[PathPoint, ...] | None = None
    chosen_by: By | None = None
    validation_history: list[ValidationStep] | None = None
    stopped_early: bool = False
    stream: RunningStream | None = None
    progressive: Progressive | None = None
    expected_excess: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds that the fit took; 0 for one pass, which keeps no history."""
        return self.history[-1].seconds if self.history else 0.0

    @property
    def solver_name(self) -> str:
        """The name of the solver's class."""
        return type(self.solver).__name__


def in_own_units(params: Params, center: Array) -> tuple[Array, Array]:
    """coef (n_features, n_outputs) and intercept (n_outputs,) for columns as they were before centring.

    The intercepts of several classes are determined up to a constant: they are made to sum to 0.
    """
    coef = params.coef.T.cpu().numpy().copy()
    intercept = params.intercept.cpu().numpy() - coef @ center
    intercept -= intercept.mean() if len(intercept) > 1 else 0.0
    return np.ascontiguousarray(coef.T), intercept
