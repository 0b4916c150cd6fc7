"""Decimal numbers to the nearest float64, for compiled loops: the method of Eisel and Lemire.

A product of two exact floats is right where both are whole and the result is rounded once (Clinger 1990); all other
numbers of up to 19 digits take a 128-bit product (Lemire 2021, "Number parsing at a gigabyte per second",
arXiv:2101.11408), which tells when it does not know the last bit: once in many millions.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True)

SMALLEST, LARGEST = -342, 308  # powers of ten in the table
_EXACT = np.uint64(2**53)  # whole numbers up to here are floats
_SMALL_POWERS = np.array([float(10**k) for k in range(23)])
_HALF, _LOW, _TOP, _LOST, _ONE = np.uint64(32), np.uint64(2**32 - 1), np.uint64(2**63), np.uint64(0x1FF), np.uint64(1)
_ZERO, _THREE = np.uint64(0), np.uint64(3)


def _mantissa(power: int) -> int:
    """The first 128 bits of 10^power, rounded down."""
    whole: int = 10 ** abs(power)
    exact = whole << 128 if power >= 0 else (1 << 128 + 2 * whole.bit_length()) // whole
    return exact >> (exact.bit_length() - 128)


_MANTISSAS = [_mantissa(power) for power in range(SMALLEST, LARGEST + 1)]
_HIGH_POWERS = np.array([mantissa >> 64 for mantissa in _MANTISSAS], np.uint64)
_LOW_POWERS = np.array([mantissa & 2**64 - 1 for mantissa in _MANTISSAS], np.uint64)


@_compiled
def _product(a, b):  # type: ignore[no-untyped-def]
    """The upper and the lower 64 bits of a product."""
    a_high, a_low, b_high, b_low = a >> _HALF, a & _LOW, b >> _HALF, b & _LOW
    first, second, third = a_low * b_low, a_high * b_low, a_low * b_high
    middle = (first >> _HALF) + (second & _LOW) + (third & _LOW)
    high = a_high * b_high + (second >> _HALF) + (third >> _HALF) + (middle >> _HALF)
    return high, (middle << _HALF) | (first & _LOW)


@_compiled
def to_float(mantissa, power):  # type: ignore[no-untyped-def]
    """The float64 nearest to mantissa 10^power, mantissa a uint64, and whether it is known to be that."""
    if mantissa <= _EXACT and power >= -22 and power <= 22:
        whole = float(mantissa)
        return whole * _SMALL_POWERS[power] if power >= 0 else whole / _SMALL_POWERS[-power], True
    if mantissa == _ZERO:
        return 0.0, True
    if power < SMALLEST or power > LARGEST:
        return 0.0, False
    exponent = ((217706 * power) >> 16) + 64
    for step in (32, 16, 8, 4, 2, 1):
        if mantissa >> np.uint64(64 - step) == _ZERO:
            mantissa <<= np.uint64(step)
            exponent -= step
    high, low = _product(mantissa, _HIGH_POWERS[power - SMALLEST])
    if high & _LOST == _LOST and low + mantissa < low:
        more, rest = _product(mantissa, _LOW_POWERS[power - SMALLEST])
        merged = low + more
        if merged < low:
            high += _ONE
        low = merged
        if high & _LOST == _LOST and low + _ONE == _ZERO and rest + mantissa < rest:
            return 0.0, False
    top = high >> np.uint64(63)
    bits = high >> (top + np.uint64(9))
    exponent -= 1 - int(top)
    if low == _ZERO and high & _LOST == _ZERO and bits & _THREE == _ONE:
        return 0.0, False  # halfway between two floats
    bits = (bits + (bits & _ONE)) >> _ONE
    if exponent <= -1022 or exponent >= 1022:
        return 0.0, False  # at the ends of the floats
    return math.ldexp(float(bits), exponent - 52), True
