"""Compiled loops: over rows for the design, over coordinates for the quadratic model."""
