"""The curve of a path: what every penalty should cost on rows not seen, and which one to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from torchlogit.pictures import GREY, Axis, Line, Panel, Points, picture
from torchlogit.records import Certificate, Params

By = Literal["alo", "cv", "validation"]
WORDS: dict[By, str] = {
    "alo": "approximate leave-one-out",
    "cv": "cross-validation",
    "validation": "the validation rows",
}


@dataclass(frozen=True, slots=True)
class PathPoint:
    """One penalty. objective: F there, in nats, and bound: what is proven of F - min F, None where nothing was asked.

    loss: the estimated log loss on rows not seen, per unit of weight, and its standard_error. df: the parameters that
    the data determine, tr(H^-1 (H - penalty)); None where no Hessian was formed.
    """

    l2: float
    objective: float
    bound: float | None
    loss: float
    standard_error: float
    df: float | None


@dataclass(frozen=True, slots=True)
class Held:
    """The mean by weight of losses of rows that were not seen, and its standard error, rows being independent."""

    loss: float
    standard_error: float

    @classmethod
    def of(cls, losses: Tensor, weight: Tensor, multiplier: Tensor | None = None) -> Held:
        """Of losses (n,) with weights (n,); multiplier (n,): how many observations each one stands for.

        >>> Held.of(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0])).loss
        2.0
        """
        count = torch.ones_like(weight) if multiplier is None else multiplier
        s, total = count * weight, (count * weight).sum()
        mean = (s * losses).sum() / total
        return cls(float(mean), float((s * weight * (losses - mean).square()).sum().sqrt() / total))


@dataclass(frozen=True, slots=True)
class PenaltyPath:
    """Points from the largest l2 to the smallest, the coefficients of each, and how the best one is known."""

    points: tuple[PathPoint, ...]
    params: tuple[Params, ...]
    by: By
    chosen: int

    @property
    def l2(self) -> float:
        """The l2 that was chosen."""
        return self.points[self.chosen].l2


def best(points: Sequence[PathPoint], *, one_standard_error: bool) -> int:
    """The point with the least loss; or the one with the largest l2 whose loss is within a standard error of it.

    Points go from the largest l2 to the smallest; of equals the first counts. Source of the rule: Breiman, Friedman,
    Olshen and Stone 1984, Classification and Regression Trees, section 3.4.3.
    """
    least = min(range(len(points)), key=lambda k: points[k].loss if math.isfinite(points[k].loss) else math.inf)
    if not one_standard_error:
        return least
    limit = points[least].loss + points[least].standard_error
    return next(k for k, point in enumerate(points) if point.loss <= limit)


def certified(points: Sequence[PathPoint], l2: float, certificate: Certificate) -> tuple[PathPoint, ...]:
    """The points, with what a fit has proven at this l2."""
    known = certificate.objective, certificate.bound
    return tuple(replace(p, objective=known[0], bound=known[1]) if p.l2 == l2 else p for p in points)


def curve(points: Sequence[PathPoint], l2: float, title: str = "Log loss on rows not seen") -> str:
    """The picture of the points: the estimated loss against l2, a standard error on both sides, and the chosen l2.

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
