"""Decimal numbers to the nearest float64, in compiled loops.

If the mantissa and the power of ten are exact as floats, their product or quotient is rounded once, and so correctly
(Clinger 1990). For all other numbers of up to 19 digits, the mantissa is multiplied by the first 128 bits of the power
of ten (Eisel and Lemire; Lemire 2021, "Number parsing at a gigabyte per second", arXiv:2101.11408). That method detects
when it cannot tell how to round, which is once in many millions of numbers.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True)

# Exponents of ten in the table: 19 digits times 10^-343 are below half the smallest float64, and 10^309 is above the
# largest.
MIN_EXPONENT, MAX_EXPONENT = -342, 308

_MAX_EXACT = np.uint64(2**53)  # whole numbers up to this one are exact as float64
_EXACT_POWERS = np.array([float(10**k) for k in range(23)])  # powers of ten that are exact as float64
_HALF, _LOW_HALF = np.uint64(32), np.uint64(2**32 - 1)
_DROPPED = np.uint64(0x1FF)  # the lowest bits of the product's upper half, which rounding drops
_ZERO, _ONE, _THREE, _NINE, _LAST_BIT = np.uint64(0), np.uint64(1), np.uint64(3), np.uint64(9), np.uint64(63)


def _first_bits(exponent: int) -> int:
    """The first 128 bits of 10^exponent, rounded down."""
    whole: int = 10 ** abs(exponent)
    scaled = whole << 128 if exponent >= 0 else (1 << 128 + 2 * whole.bit_length()) // whole
    return scaled >> (scaled.bit_length() - 128)


_POWERS = [_first_bits(exponent) for exponent in range(MIN_EXPONENT, MAX_EXPONENT + 1)]
_HIGH_POWERS = np.array([bits >> 64 for bits in _POWERS], np.uint64)
_LOW_POWERS = np.array([bits & 2**64 - 1 for bits in _POWERS], np.uint64)


@_compiled
def _product(a, b):  # type: ignore[no-untyped-def]
    """The upper and the lower 64 bits of the product of two uint64."""
    a_high, a_low, b_high, b_low = a >> _HALF, a & _LOW_HALF, b >> _HALF, b & _LOW_HALF
    low, cross, other_cross = a_low * b_low, a_high * b_low, a_low * b_high
    middle = (low >> _HALF) + (cross & _LOW_HALF) + (other_cross & _LOW_HALF)
    high = a_high * b_high + (cross >> _HALF) + (other_cross >> _HALF) + (middle >> _HALF)
    return high, (middle << _HALF) | (low & _LOW_HALF)


@_compiled
def to_float(mantissa, exponent):  # type: ignore[no-untyped-def]
    """The float64 nearest to mantissa * 10^exponent, for a uint64 mantissa, and whether it is known to be the nearest.

    Where it is not known, the value returned means nothing.
    """
    if mantissa <= _MAX_EXACT and exponent >= -22 and exponent <= 22:
        whole = float(mantissa)
        return whole * _EXACT_POWERS[exponent] if exponent >= 0 else whole / _EXACT_POWERS[-exponent], True
    if mantissa == _ZERO:
        return 0.0, True
    if exponent < MIN_EXPONENT or exponent > MAX_EXPONENT:
        return 0.0, False
    binary_exponent = ((217706 * exponent) >> 16) + 64  # 217706 / 2^16 = log2(10), to the digits that matter here
    for step in (32, 16, 8, 4, 2, 1):  # shift the mantissa until its first bit is 1
        if mantissa >> np.uint64(64 - step) == _ZERO:
            mantissa <<= np.uint64(step)
            binary_exponent -= step
    high, low = _product(mantissa, _HIGH_POWERS[exponent - MIN_EXPONENT])
    if high & _DROPPED == _DROPPED and low + mantissa < low:  # the lower 64 bits of the power may carry into these bits
        carry, lowest = _product(mantissa, _LOW_POWERS[exponent - MIN_EXPONENT])
        merged = low + carry
        if merged < low:
            high += _ONE
        low = merged
        if high & _DROPPED == _DROPPED and low + _ONE == _ZERO and lowest + mantissa < lowest:
            return 0.0, False
    first_bit = high >> _LAST_BIT
    bits = high >> (first_bit + _NINE)  # 54 bits: those of a float64, and one more to round by
    binary_exponent -= 1 - int(first_bit)
    if low == _ZERO and high & _DROPPED == _ZERO and bits & _THREE == _ONE:
        return 0.0, False  # may be halfway between two floats
    bits = (bits + (bits & _ONE)) >> _ONE
    if binary_exponent <= -1022 or binary_exponent >= 1022:
        return 0.0, False  # may be subnormal or infinite
    return math.ldexp(float(bits), binary_exponent - 52), True
