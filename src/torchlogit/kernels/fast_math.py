"""exp and log as polynomials, for loops that the compiler vectorises. math.exp and math.log would call a library.

Additions are neither fused nor reordered, so that a number's result does not depend on its place in an array.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

# fastmath=False is written out because numba otherwise passes the caller's fastmath flags on to an inlined function.
_exact = njit(cache=True, fastmath=False, error_model="numpy")

LOWEST = -700.0  # replaces smaller arguments of exp, so that 2^k does not underflow: exp(-700) is 1e-304
LOG2_E = 1 / math.log(2)
# Their sum is ln 2. The last 21 bits of LN2_HIGH are 0, so that k LN2_HIGH is exact.
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
ROUND = 1.5 * 2.0**52  # x + ROUND - ROUND is x rounded to an integer; the last bits of x + ROUND hold that integer


@_exact
def exp_below(x):  # type: ignore[no-untyped-def]
    """exp(x) for x <= 0, to a relative 1e-14: 2^k times the Taylor series of the rest r, |r| <= ln(2) / 2."""
    x = max(x, LOWEST)
    shifted = x * LOG2_E + ROUND
    k = shifted - ROUND
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    q = 1 / 39916800 + r * (1 / 479001600)
    q = 1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * q))
    q = 1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * q)))
    q = 1.0 + r * (1.0 + r * (1 / 2 + r * (1 / 6 + r * q)))
    power = np.int64((np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52))
    return q * power.view(np.float64)


@_exact
def log1p_unit(e):  # type: ignore[no-untyped-def]
    """log(1 + e) for 0 <= e <= 1, to a relative 1e-13: 2 artanh(u) by its series, u = e / (2 + e) <= 1/3."""
    u = e / (2.0 + e)
    v = u * u
    q = 1 / 19 + v * (1 / 21 + v * (1 / 23 + v * (1 / 25)))
    q = 1 / 11 + v * (1 / 13 + v * (1 / 15 + v * (1 / 17 + v * q)))
    q = 1 / 3 + v * (1 / 5 + v * (1 / 7 + v * (1 / 9 + v * q)))
    return 2.0 * u * (1.0 + v * q)


@_exact
def log_normal(x):  # type: ignore[no-untyped-def]
    """log(x) for x > 0 that is not subnormal, to a relative 1e-13 or an absolute 1e-15: x = 2^k m, 1 <= m < 2."""
    bits = np.float64(x).view(np.int64)
    k = np.float64((bits >> np.int64(52)) - np.int64(1023))
    digits = (bits & np.int64(0xFFFFFFFFFFFFF)) | np.int64(0x3FF0000000000000)
    m = np.int64(digits).view(np.float64)
    return k * LN2_HIGH + (k * LN2_LOW + log1p_unit(m - 1.0))
