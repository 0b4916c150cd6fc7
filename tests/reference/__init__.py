"""Slow, readable references: the formulae of torchlogit written a second time, with more digits and no cleverness."""
