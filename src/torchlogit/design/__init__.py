"""The design matrix, dense; only here and in the compiled loops is it known what rows are made of."""

from torchlogit.design.dense import Dense
from torchlogit.design.matrix import DesignMatrix, Rows

__all__ = ["Dense", "DesignMatrix", "Rows"]
