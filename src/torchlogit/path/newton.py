"""Newton's method for a batch of fits: gradients of all in one reading of X, Hessians that neighbours share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from torchlogit.path.batch import Batch, Evaluation
from torchlogit.penalties import ElasticNet
from torchlogit.quadratic import Factor, factor

MAX_STEPS = 60
SUFFICIENT = 1e-4  # of the decrease that the slope promises
ROUNDING = 1e-13  # of F: no decrease can be seen below it
TOL = 1e-6  # of F, by which an optimum may be missed: it is less than can be seen on new rows
SHORTEST = 1e-9  # step, as a share of Newton's, after which no better one will be found
SLOW = 0.2  # a step that promises more than this share of what the last one did asks for another Hessian
SHARED = 3  # neighbouring penalties that share the curvature of the one in the middle
PATIENCE = 2  # Hessians from a sample before one of all rows


class Curvature:
    """The Hessian of every fit, factored: from a sample of the rows, and where those are poor, of all rows.

    The losses' part is that of a neighbour; the penalty is a fit's own.
    """

    def __init__(self, batch: Batch, sample: Batch) -> None:
        self.batch, self.sample = batch, sample
        self._factors: dict[int, Factor] = {}
        self._asked = dict.fromkeys(range(len(batch.l2s)), 0)
        self._precision = batch.precision()

    def solve(self, k: int, right: Tensor) -> Tensor | None:
        """The k-th Hessian's inverse times `right`, in free coordinates; None where there is none yet."""
        return self._factors[k].solve(right[:, None])[:, 0] if k in self._factors else None

    def renew(self, places: list[int], theta: Tensor) -> None:
        """The Hessians of these fits, at theta (p, m, n_outputs), or near there."""
        for _, same in groupby(places, key=lambda k: int(self.batch.held[k])):
            fold = list(same)
            for start in range(0, len(fold), SHARED):
                group = fold[start : start + SHARED]
                leader = group[len(group) // 2]
                losses = self._losses(leader, theta[:, leader], poor=min(self._asked[k] for k in group) >= PATIENCE)
                for k in group:
                    self._factors[k] = self._factor(k, losses)
                    self._asked[k] += 1

    def at(self, k: int, theta: Tensor) -> Factor:
        """The k-th Hessian at this theta (p, n_outputs)."""
        return self._factor(k, self._losses(k, theta, poor=False))

    def _losses(self, k: int, theta: Tensor, *, poor: bool) -> Tensor:
        """The Hessian of the k-th fit's losses."""
        single = (self.batch if poor else self.sample).single(k)
        return replace(single, penalty=ElasticNet()).hessian(single.residual(single.raw(theta)))

    def _factor(self, k: int, losses: Tensor) -> Factor:
        hessian = losses.clone()
        hessian.diagonal().add_(self._precision[:, k].repeat(len(hessian) // len(self._precision)))
        return factor(hessian)


@dataclass(frozen=True, slots=True)
class Solved:
    """Where a batch of fits has come to, (p, m, n_outputs), what is known there, and what a step promises (m,)."""

    theta: Tensor
    seen: Evaluation
    promise: Tensor
    readings: int


def solve(batch: Batch, theta: Tensor, curvature: Curvature, enough: float) -> Solved:
    """Every fit within about enough + 1e-6 F of its optimum: damped Newton steps; a Hessian serves until it is poor."""
    m, n_free = len(batch.l2s), batch.objective.basis().shape[1]
    theta, seen = theta.clone(), batch.evaluate(theta)
    steps, t = torch.zeros_like(theta), torch.ones(m, dtype=torch.float64)
    slope, promise = torch.zeros(m, dtype=torch.float64), torch.full((m,), torch.inf, dtype=torch.float64)

    def step(k: int, patient: bool) -> bool:
        """The next step of a fit; whether it is a good one."""
        gradient = batch.objective.to_free(seen.gradient[:, k])
        free = curvature.solve(k, -gradient)
        if free is None or (patient and -0.5 * float(gradient @ free) > SLOW * float(promise[k])):
            return False
        steps[:, k] = free.reshape(n_free, -1).T @ batch.objective.basis().T
        slope[k], t[k] = float(gradient @ free), 1.0
        promise[k] = -0.5 * slope[k]
        return True

    active, readings = list(range(m)), 1
    taken = active
    for _ in range(MAX_STEPS):
        poor = [k for k in taken if not step(k, patient=True)]
        curvature.renew(poor, theta)
        for k in poor:
            step(k, patient=False)
        active = [k for k in active if promise[k] > enough + TOL * float(seen.value[k]) and t[k] > SHORTEST]
        if not active:
            break
        places = torch.tensor(active)
        trial = theta[:, places] + t[places].to(theta)[:, None] * steps[:, places]
        tried = batch.some(places).evaluate(trial)
        readings += 1
        allowed = seen.value[places] + SUFFICIENT * (t * slope)[places].to(theta) + ROUNDING * seen.value[places].abs()
        better = (tried.value <= allowed).cpu()
        landed = better.nonzero()[:, 0]
        theta[:, places[landed]] = trial[:, landed]
        seen.put(places[landed], tried.some(landed))
        t[places[~better]] *= 0.5
        taken = places[landed].tolist()
    return Solved(theta, seen, promise, readings)
