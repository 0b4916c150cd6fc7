"""Dual coordinate ascent: each step maximises the dual over one row."""
