"""Compiled loops: MurmurHash3 of texts, and a set of hashes.

MurmurHash3 (x86, 32 bits) is Austin Appleby's, in the public domain; it is computed in 64 bits and cut to 32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_compiled = njit(nogil=True, cache=True)

_LOW = np.uint64(0xFFFFFFFF)  # the lower 32 bits
# MurmurHash3's multipliers and shifts, as unsigned numbers: numba turns a uint64 and a signed number into a float.
_C1, _C2, _C3 = np.uint64(0xCC9E2D51), np.uint64(0x1B873593), np.uint64(0xE6546B64)
_F1, _F2 = np.uint64(0x85EBCA6B), np.uint64(0xC2B2AE35)
_3, _5, _8, _13, _16 = np.uint64(3), np.uint64(5), np.uint64(8), np.uint64(13), np.uint64(16)
_15, _17, _19, _32 = np.uint64(15), np.uint64(17), np.uint64(19), np.uint64(32)


@_compiled
def _mixed(k):  # type: ignore[no-untyped-def]
    k = (k * _C1) & _LOW
    k = ((k << _15) | (k >> _17)) & _LOW
    return (k * _C2) & _LOW


@_compiled
def _murmur(data, start, stop, seed):  # type: ignore[no-untyped-def]
    h = seed
    whole = start + (stop - start) // 4 * 4
    at = start
    while at < whole:
        k = np.uint64(data[at]) | (np.uint64(data[at + 1]) << _8) | (np.uint64(data[at + 2]) << _16)
        h ^= _mixed(k | (np.uint64(data[at + 3]) << np.uint64(24)))
        h = ((h << _13) | (h >> _19)) & _LOW
        h = (h * _5 + _C3) & _LOW
        at += 4
    k = np.uint64(0)
    shift = np.uint64(0)
    while at < stop:
        k |= np.uint64(data[at]) << shift
        shift += _8
        at += 1
    if shift > 0:
        h ^= _mixed(k)
    h ^= np.uint64(stop - start)
    h = ((h ^ (h >> _16)) * _F1) & _LOW
    h = ((h ^ (h >> _13)) * _F2) & _LOW
    return h ^ (h >> _16)


@_compiled
def murmur_32(data, offsets, out):  # type: ignore[no-untyped-def]
    """out[i]: the hash, with seed 0, of data[offsets[i] : offsets[i + 1]], as a signed number."""
    for i in range(len(out)):
        h = np.int64(_murmur(data, offsets[i], offsets[i + 1], np.uint64(0)))
        out[i] = h if h < 2147483648 else h - 4294967296


@_compiled
def murmur_64(data, offsets, out):  # type: ignore[no-untyped-def]
    """out[i]: two hashes of data[offsets[i] : offsets[i + 1]], with different seeds, side by side; 1 in place of 0."""
    for i in range(len(out)):
        low = _murmur(data, offsets[i], offsets[i + 1], np.uint64(0x9747B28C))
        high = _murmur(data, offsets[i], offsets[i + 1], np.uint64(0x3C6EF372))
        both = (high << _32) | low
        out[i] = both if both != 0 else np.uint64(1)


@_compiled
def insert(table, hashes):  # type: ignore[no-untyped-def]
    """Inserts hashes, none of them 0, into a hash table; returns the number of new ones.

    table: its length is a power of two, and larger than the number of hashes in it; a free entry is 0.
    """
    mask = np.uint64(len(table) - 1)
    n_new = 0
    for i in range(len(hashes)):
        at = (hashes[i] ^ (hashes[i] >> _32)) & mask
        while table[at] != 0 and table[at] != hashes[i]:
            at = (at + np.uint64(1)) & mask
        if table[at] == 0:
            table[at] = hashes[i]
            n_new += 1
    return n_new
