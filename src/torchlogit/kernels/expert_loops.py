"""The loops that weigh experts by what they said of rows, and mix what they said: for all streams.

What each row takes an exp or a logarithm for is done for all rows at once, four at a time; what one row leaves to the
next is sums and products. No function here uses fused or reordered additions where a row's place could change its bits.
Compiled when they first meet their arrays: a second or two, once; then cached.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.fast_math import exp_below, log1p_unit

_exact = njit(nogil=True, cache=True, fastmath=False, error_model="numpy")  # said: else it takes after its caller
_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")

RECENT = 4096.0  # rows, over which the experts' weights are averaged for the answer


@_exact
def losses(raw, target, out):  # type: ignore[no-untyped-def]
    """out (n,) = the losses of rows: of a logit where there is one output, of softmax where there are more."""
    n, outputs = raw.shape
    if outputs == 1:
        z, y = raw.reshape(n), target.reshape(n)
        for i in range(n):
            size = abs(z[i])
            side = 1.0 if z[i] > 0.0 else 0.0
            out[i] = log1p_unit(exp_below(-size)) + abs(side - y[i]) * size
        return
    for i in range(n):
        top = raw[i, 0]
        for k in range(1, outputs):
            top = max(top, raw[i, k])
        total = wanted = 0.0
        for k in range(outputs):
            total += math.exp(raw[i, k] - top)
            wanted += target[i, k] * (raw[i, k] - top)
        out[i] = math.log(total) - wanted


@_exact
def likelihoods(raws, target, weight, out):  # type: ignore[no-untyped-def]
    """out (e, n) = what rows of these weights say for several predictions (e, n, outputs), the best of them 1."""
    n = len(weight)
    least = np.full(n, np.inf)
    for e in range(len(raws)):
        losses(raws[e], target, out[e])
        for i in range(n):
            least[i] = min(least[i], out[e, i])
    for e in range(len(raws)):
        for i in range(n):
            out[e, i] = exp_below(-weight[i] * (out[e, i] - least[i]))


@_compiled
def _reweigh(belief, likelihood, i, share):  # type: ignore[no-untyped-def]
    """Bayes' rule for row i, after which a share of all is dealt out evenly."""
    total = 0.0
    for e in range(len(belief)):
        belief[e] *= likelihood[e, i]
        total += belief[e]
    keep, gift = (1.0 - share) / total, share / len(belief)
    for e in range(len(belief)):
        belief[e] = keep * belief[e] + gift


@_compiled
def judge(raws, target, weight, shares, count, belief, trust, recent, raw, loss):  # type: ignore[no-untyped-def]
    """raw, loss (n, outputs), (n,) = the experts' mean before each row, and its loss; moves what weighs the experts.

    raws (experts, n, outputs): their predictions. belief (m, experts): their weights, of which a share is dealt out
    anew with every row: one of shares (m,), or, where that is 0, one in as many as there were rows, count before these.
    trust (m,): how far each of these is believed. recent (experts,): the mean of what the experts weighed in the last
    rows, which one lucky row does not move.
    """
    experts, n, outputs = raws.shape
    several = len(shares)
    said, means, mixed = np.empty((experts, n)), np.zeros((several, n, outputs)), np.empty((several, n))
    likelihoods(raws, target, weight, said)
    beliefs = np.empty((several, n, experts))
    for m in range(several):
        for i in range(n):
            for k in range(outputs):
                z = 0.0
                for e in range(experts):
                    z += belief[m, e] * raws[e, i, k]
                means[m, i, k] = z
            if weight[i] > 0.0:
                share = shares[m] if shares[m] > 0.0 else 1.0 / (2.0 + count + i)
                _reweigh(belief[m], said, i, share)
            for e in range(experts):
                beliefs[m, i, e] = belief[m, e]
    likelihoods(means, target, weight, mixed)
    for i in range(n):
        for k in range(outputs):
            z = 0.0
            for m in range(several):
                z += trust[m] * means[m, i, k]
            raw[i, k] = z
        if weight[i] > 0.0:
            _reweigh(trust, mixed, i, 1.0 / (2.0 + count + i))
            by = 1.0 / min(1.0 + count + i, RECENT)
            for e in range(experts):
                now = 0.0
                for m in range(several):
                    now += trust[m] * beliefs[m, i, e]
                recent[e] += (now - recent[e]) * by
    losses(raw, target, loss)
