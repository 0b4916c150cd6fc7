"""Dual coordinate ascent: one row at a time, solved exactly in the dual."""
