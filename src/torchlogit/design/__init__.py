"""The design matrix. What its rows are made of is known here and in the compiled loops, nowhere else."""

from torchlogit.design.dense import Dense
from torchlogit.design.matrix import DesignMatrix, Rows

__all__ = ["Dense", "DesignMatrix", "Rows"]
