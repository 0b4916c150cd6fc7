"""Standard errors of the coefficients, or the reason why there are none."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchlogit.conditioning import Conditioning
from torchlogit.objective import Objective
from torchlogit.quadratic import factor
from torchlogit.records import Certificate, Params, Status

# The largest distance of an answer from the optimum, in standard errors, at which errors are computed. Larger: they are
# computed for less exact answers.
CLOSE = 0.05
DETERMINED = 1e-6  # the data determine a coefficient where its diagonal entry of H^+ H is within this of 1
MAX_PARAMETERS = 2500  # the most parameters for which the covariance, a square matrix of them, is formed


@dataclass(frozen=True, slots=True)
class Covariance:
    """The covariance of the coefficients: H^-1 at the optimum, H the Hessian of the negative log-likelihood.

    inverse (n_free p, n_free p): in the free coordinates of objective.py, for the conditioned columns. determined (p,):
    whether the data determine the coefficients of a column. basis (n_outputs, n_free): of the free coordinates.
    conditioning: how the conditioned columns follow from the columns as given; None where they are the same.
    """

    inverse: Tensor
    determined: Tensor
    basis: Tensor
    conditioning: Conditioning | None = None

    def errors_of(self, combinations: Tensor) -> Tensor:
        """Standard errors (m, n_outputs) of m linear combinations of the coefficients, NaN where undetermined.

        combinations (m, p): the factors of the coefficients of the columns as given, and last that of the intercept. A
        row of X with a 1 at its end gives the standard error of its raw prediction.
        """
        combinations = self._conditioned(combinations)
        n_free, p = self.basis.shape[1], combinations.shape[1]
        blocks = self.inverse.reshape(n_free, p, n_free, p)
        middle = torch.einsum("mj,kjli,mi->mkl", combinations, blocks, combinations)
        variance = torch.einsum("ck,mkl,cl->mc", self.basis, middle, self.basis)
        known = ((combinations != 0) <= self.determined).all(dim=1)
        return torch.where(known[:, None], variance.clamp(min=0).sqrt(), torch.nan)

    def _conditioned(self, combinations: Tensor) -> Tensor:
        """The same combinations in terms of the coefficients of the conditioned columns."""
        if self.conditioning is None:
            return combinations
        parts = self.conditioning.center, self.conditioning.scale
        center, scale = (torch.from_numpy(part).to(combinations) for part in parts)
        d = len(center)
        intercept = combinations[:, d:].sum(dim=1, keepdim=True)
        return torch.cat([(combinations[:, :d] - intercept * center) * scale, combinations[:, d:]], dim=1)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there are no standard errors, as a phrase."""

    reason: str


def covariance(objective: Objective, params: Params, certificate: Certificate) -> Covariance | Refusal:
    """The covariance of a maximum-likelihood answer, or why there is none; X is read once.

    It is the inverse of the observed information (McCullagh and Nelder 1989, section 4.4). That is valid without a
    penalty only, which would bias the answer, for classes that are not separated, and close to the optimum.
    """
    reason = _refusal(objective, certificate)
    if reason:
        return Refusal(reason)
    hessian = objective.hessian(objective.residual(objective.raw(objective.theta(params))))
    factored = factor(hessian)
    entries = (factored.solve(hessian).diagonal() - 1).abs() < DETERMINED
    determined = entries.reshape(-1, objective.design.shape[1]).all(dim=0)
    return Covariance(factored.inverse(), determined, objective.basis(), objective.conditioning)


def _refusal(objective: Objective, certificate: Certificate) -> str:
    if bool((objective.precision > 0).any()) or not objective.penalty.smooth:
        return "a penalty or bounds bias the coefficients, so standard errors are not valid; fit without either"
    if certificate.status is Status.SEPARATED:
        return "the classes are separated: coefficients that run off to infinity have no standard errors"
    if certificate.standard_errors is None or certificate.standard_errors > CLOSE:
        return f"the answer is not proven to be within {CLOSE} standard errors of the optimum"
    if objective.n_parameters > MAX_PARAMETERS:
        return f"there are more than {MAX_PARAMETERS:,} coefficients: their covariance is not formed"
    return ""
