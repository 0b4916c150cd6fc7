"""The curve of a path: the estimated loss on new rows at every l2, and which l2 to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from torchlogit.pictures import GREY, Axis, Line, Panel, Points, picture
from torchlogit.records import Certificate, Params

By = Literal["alo", "cv", "validation"]
MEASURE_NAMES: dict[By, str] = {
    "alo": "approximate leave-one-out",
    "cv": "cross-validation",
    "validation": "the validation rows",
}


@dataclass(frozen=True, slots=True)
class PathPoint:
    """One l2 of a path.

    objective: F at the fit, in nats. bound: the proven bound on F - min F, in nats; None where none was asked for.
    loss, standard_error: the estimated log loss on new rows, per unit of weight, and its standard error. df: the
    effective number of parameters, tr(H^-1 (H - penalty)), intercepts included; None where no Hessian was formed.
    """

    l2: float
    objective: float
    bound: float | None
    loss: float
    standard_error: float
    df: float | None


@dataclass(frozen=True, slots=True)
class PenaltyPath:
    """Fits from the largest l2 to the smallest: their points and coefficients, and which one is chosen.

    by: how the losses on new rows were estimated. chosen: the index of the chosen point.
    """

    points: tuple[PathPoint, ...]
    params: tuple[Params, ...]
    by: By
    chosen: int

    @property
    def l2(self) -> float:
        """The l2 that was chosen."""
        return self.points[self.chosen].l2


def best(points: Sequence[PathPoint], *, one_standard_error: bool) -> int:
    """The index of the point with the least loss, or of the largest l2 whose loss is within a standard error of it.

    points: from the largest l2 to the smallest; of equal losses the first counts. The rule of one standard error is
    that of Breiman, Friedman, Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3.
    """
    least = min(range(len(points)), key=lambda k: points[k].loss if math.isfinite(points[k].loss) else math.inf)
    if not one_standard_error:
        return least
    limit = points[least].loss + points[least].standard_error
    return next(k for k, point in enumerate(points) if point.loss <= limit)


def certified(points: Sequence[PathPoint], l2: float, certificate: Certificate) -> tuple[PathPoint, ...]:
    """The points with the certificate's objective and bound filled in at this l2."""
    objective, bound = certificate.objective, certificate.bound
    return tuple(replace(p, objective=objective, bound=bound) if p.l2 == l2 else p for p in points)


def curve(points: Sequence[PathPoint], l2: float, title: str = "Log loss on rows not seen") -> str:
    """An SVG picture: the estimated loss against l2, with a standard error on both sides and the chosen l2 marked.

    >>> curve([PathPoint(2.0, 9.0, None, 0.5, 0.1, 3.0), PathPoint(1.0, 8.0, None, 0.4, 0.1, 4.0)], 1.0)[:4]
    '<svg'
    """
    x = [point.l2 for point in points]
    y, error = [point.loss for point in points], [point.standard_error for point in points]
    chosen = [point.loss for point in points if point.l2 == l2]
    marks = (
        Line(x, [a + b for a, b in zip(y, error, strict=True)], "one standard error", GREY, dashed=True),
        Line(x, [a - b for a, b in zip(y, error, strict=True)], "", GREY, dashed=True),
        Line(x, y, "estimate"),
        Points([l2] * len(chosen), chosen, f"chosen: l2 = {l2:.3g}"),
    )
    return picture([Panel(title, Axis("l2", "log"), Axis("log loss"), marks)])
