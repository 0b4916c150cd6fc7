"""The design matrix: dense, sparse, or read again for every pass. Only this package knows what rows are made of."""

from torchlogit.design.dense import Dense
from torchlogit.design.matrix import DesignMatrix, Entries, Rows, sum_blocks
from torchlogit.design.sparse import Sparse, as_csr
from torchlogit.design.streamed import Streamed

__all__ = ["Dense", "DesignMatrix", "Entries", "Rows", "Sparse", "Streamed", "as_csr", "sum_blocks"]
