"""The running class share as an expert, and its Bayesian mixture with another prediction, as compiled loops.

Compiling takes a second or two at the first call and is cached.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from torchlogit.kernels.expert_loops import likelihoods, losses
from torchlogit.kernels.fast_math import exp_below, log_normal

# fastmath=False: a row's last bits must not depend on its place in the block.
_exact = njit(nogil=True, cache=True, fastmath=False, error_model="numpy")


@_exact
def share(target, weight, counts, largest, raw):  # type: ignore[no-untyped-def]
    """Set raw (n, outputs) to the logarithms of the class shares before each row; then add the row's weight to counts.

    The estimate is that of Krichevsky and Trofimov: each class starts with half a row, of the largest weight so far.
    counts (K,) are the classes' weights. largest (n,): the largest weight of a row so far, for each row.
    For two classes raw holds their log-odds.
    """
    n, outputs = raw.shape
    for i in range(n):
        half = 0.5 * largest[i] if largest[i] > 0.0 else 0.5
        if outputs == 1:
            raw[i, 0] = (counts[1] + half) / (counts[0] + half)
            counts[1] += weight[i] * target[i, 0]
            counts[0] += weight[i] * (1.0 - target[i, 0])
        else:
            for k in range(outputs):
                raw[i, k] = counts[k] + half
                counts[k] += weight[i] * target[i, k]
    logarithms(raw)


@_exact
def logarithms(values):  # type: ignore[no-untyped-def]
    """Replace all values (n, m), which are positive and not subnormal, by their logarithms."""
    flat = values.reshape(values.size)
    for i in range(len(flat)):
        flat[i] = log_normal(flat[i])


@_exact
def mix(loss, weight, largest, prior, stay, seen, belief, own):  # type: ignore[no-untyped-def]
    """Set own (2, n) to the weights of two predictions before each row, and update belief (2,) by their losses (2, n).

    Bayes' rule with the likelihoods exp(-loss * weight / largest); then the share 1 / (stay + r)^2 of each weight goes
    to the other prediction, where r = seen[2] + 1, ... counts rows of positive weight. largest (n,): the largest weight
    of a row so far. prior (2,): the weights before the first row. seen (3,): the largest weight of a row, which is
    updated as the row count seen[2] is. loss is overwritten.
    """
    n = len(weight)
    scaled = np.empty(n)
    for i in range(n):
        scaled[i] = weight[i] / largest[i] if weight[i] > 0.0 else 0.0
    likelihoods(loss, scaled)
    for i in range(n):
        if largest[i] > seen[0]:
            if seen[0] > 0.0:
                _cool(belief, prior, seen[0] / largest[i])
            seen[0] = largest[i]
        own[0, i], own[1, i] = belief
        if weight[i] == 0.0:
            continue
        seen[2] += 1.0
        first, second = belief[0] * loss[0, i], belief[1] * loss[1, i]
        total, rate = first + second, 1.0 / (stay + seen[2]) ** 2
        first, second = first / total, second / total
        belief[0] = first + rate * (second - first)
        belief[1] = second + rate * (first - second)


@_exact
def _cool(belief, prior, power):  # type: ignore[no-untyped-def]
    """belief = prior (belief / prior)^power, normalised: the same losses at a lower learning rate."""
    odds = math.log(belief[0] / prior[0]) - math.log(belief[1] / prior[1])
    least = math.exp(-abs(power * odds))
    first, second = (prior[0], prior[1] * least) if odds > 0.0 else (prior[0] * least, prior[1])
    belief[0], belief[1] = first / (first + second), second / (first + second)


@_exact
def combine(raws, own, target, raw, loss):  # type: ignore[no-untyped-def]
    """Set raw (n, outputs) to that of the weighted mean of probabilities, and loss (n,) to its loss.

    raws (2, n, outputs): two raw predictions. own (2, n): their weights.
    """
    n, outputs = raw.shape
    if outputs == 1:
        for i in range(n):
            negative = positive = 0.0
            for e in range(2):
                z = raws[e, i, 0]
                less = exp_below(-abs(z))
                part = own[e, i] / (1.0 + less)
                positive += part if z > 0.0 else part * less
                negative += part * less if z > 0.0 else part
            raw[i, 0] = positive / negative
        logarithms(raw)
        losses(raw, target, loss)
        return
    part = np.empty(outputs)
    for i in range(n):
        for k in range(outputs):
            raw[i, k] = 0.0
        for e in range(2):
            top = raws[e, i, 0]
            for k in range(1, outputs):
                top = max(top, raws[e, i, k])
            total = 0.0
            for k in range(outputs):
                part[k] = math.exp(raws[e, i, k] - top)
                total += part[k]
            for k in range(outputs):
                raw[i, k] += own[e, i] * part[k] / total
    logarithms(raw)
    losses(raw, target, loss)
