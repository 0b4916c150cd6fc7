"""Loops compiled by numba, in modules named *_loops, and the functions that call them on several threads."""
