"""The loop of streaming Newton that goes row by row: experts that follow a drift, and the weight of every expert.

Compiled when it first meets its arrays: some seconds, once; then cached.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.dual_loops import nearest
from torchlogit.kernels.softmax_loops import settle

_compiled = njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")
_inlined = njit(inline="always")

RECENT = 4096.0  # rows, over which the experts' weights are averaged for the answer


@_inlined
def _loss(raw, target):  # type: ignore[no-untyped-def]
    """The loss of one row: of a logit where there is one output, of softmax where there are more."""
    outputs = len(raw)
    if outputs == 1:
        z = raw[0]
        side = 1.0 if z > 0.0 else 0.0
        return math.log1p(math.exp(-abs(z))) + abs(side - target[0]) * abs(z)
    top = raw[0]
    for k in range(1, outputs):
        top = max(top, raw[k])
    total = wanted = 0.0
    for k in range(outputs):
        total += math.exp(raw[k] - top)
        wanted += target[k] * (raw[k] - top)
    return math.log(total) - wanted


@_compiled
def _likelihoods(raw, target, s, out):  # type: ignore[no-untyped-def]
    """out = what a row of weight s says for each of several predictions, the best of them 1."""
    least = math.inf
    for e in range(len(raw)):
        out[e] = _loss(raw[e], target)
        least = min(least, out[e])
    for e in range(len(raw)):
        out[e] = math.exp(-s * (out[e] - least))


@_inlined
def _reweigh(belief, likelihood, share):  # type: ignore[no-untyped-def]
    """Bayes' rule for a row, after which a share of all is dealt out evenly."""
    total = 0.0
    for e in range(len(belief)):
        belief[e] *= likelihood[e]
        total += belief[e]
    for e in range(len(belief)):
        belief[e] = (1.0 - share) * (belief[e] / total) + share / len(belief)


@_compiled
def mix(own, belief, trust, target, means, raw):  # type: ignore[no-untyped-def]
    """raw = the mean of all experts' predictions; returns its loss. means: by each of the beliefs."""
    raw[:] = 0.0
    for m in range(len(trust)):
        for k in range(len(raw)):
            z = 0.0
            for e in range(len(own)):
                z += belief[m, e] * own[e, k]
            means[m, k] = z
            raw[k] += trust[m] * z
    return _loss(raw, target)


@_compiled
def weigh(own, means, target, s, shares, count, each, mixed, belief, trust, recent):  # type: ignore[no-untyped-def]
    """Moves belief and trust by what a row of weight s says; count rows have been so far. each, mixed: room.

    recent: the mean of what the experts weighed in the last rows, which one lucky row does not move.
    """
    _likelihoods(own, target, s, each)
    for m in range(len(shares)):
        _reweigh(belief[m], each, shares[m] if shares[m] > 0.0 else 1.0 / (1.0 + count))
    _likelihoods(means, target, s, mixed)
    _reweigh(trust, mixed, 1.0 / (1.0 + count))
    for e in range(len(recent)):
        weight = 0.0
        for m in range(len(trust)):
            weight += trust[m] * belief[m, e]
        recent[e] += (weight - recent[e]) / min(count, RECENT)


@_compiled
def follow(  # type: ignore[no-untyped-def]
    X,
    target,
    weight,
    offset,
    block_raw,
    rates,
    shares,
    centered,
    count,
    seen,
    mean,
    square,
    coef,
    intercept,
    belief,
    trust,
    recent,
    raw,
    loss,
):
    """Each row is predicted by the experts' mean, weighs the experts by their losses, and moves those that follow.

    The first experts' raw predictions (rows, some, outputs) are given. Those that follow, coef (others, outputs, d)
    and intercept (others, outputs), take a step that minimises s loss(t) + |t - w|^2 / (2 rate), the distance in units
    of the columns' running mean and variance (square / seen).

    belief (m, experts): weights of the experts, of which a share is dealt out anew with every row: one of shares (m,),
    or, where that is 0, one in as many as there were rows. trust (m,): how far each of these is believed; recent
    (experts,): the mean of their weights lately. raw, loss:
    what came out. count, seen: rows and their weight so far; returns both.
    """
    n, d = X.shape
    some, outputs = block_raw.shape[1], target.shape[1]
    others = len(rates)
    own = np.empty((some + others, outputs))
    each, means, mixed = np.empty(some + others), np.empty((len(shares), outputs)), np.empty(len(shares))
    x, r, wanted, step = np.empty(d), np.empty(outputs), np.empty(outputs), np.empty(outputs)
    for i in range(n):
        for e in range(some):
            for k in range(outputs):
                own[e, k] = block_raw[i, e, k]
        for e in range(others):
            for k in range(outputs):
                z = 0.0
                for j in range(d):
                    z += coef[e, k, j] * X[i, j]
                own[some + e, k] = z + intercept[e, k] + offset[i, k]
        loss[i] = mix(own, belief, trust, target[i], means, raw[i])
        count += 1.0
        s = weight[i]
        if s == 0.0:
            continue
        weigh(own, means, target[i], s, shares, count, each, mixed, belief, trust, recent)
        seen += s
        size = 1.0 if centered else 0.0
        for j in range(d):
            value = X[i, j]
            change = value - mean[j]
            if centered:
                mean[j] += s * change / seen
            change_after = value - mean[j]
            square[j] += s * change * change_after
            x[j] = change_after * seen / square[j] if square[j] > 0.0 else 0.0
            size += x[j] * change_after
        for e in range(others):
            rate = s * rates[e]
            pull = rate * size
            if outputs == 1:
                r[0] = nearest(own[some + e, 0], pull, 0.0, target[i, 0])
            else:
                for k in range(outputs):
                    wanted[k] = own[some + e, k] + pull * target[i, k]
                settle(own[some + e], pull, wanted, r, step)
                for k in range(outputs):
                    r[k] -= target[i, k]
            for k in range(outputs):
                move = -rate * r[k]
                at_zero = move if centered else 0.0
                for j in range(d):
                    coef[e, k, j] += move * x[j]
                    at_zero -= move * x[j] * mean[j]
                intercept[e, k] += at_zero
    return count, seen
