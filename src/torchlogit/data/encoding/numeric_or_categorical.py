"""The learner of columns whose values decide whether they are numeric, boolean or categorical."""

from __future__ import annotations

from typing import TypeVar

import pyarrow as pa

from torchlogit.data.block import Locate
from torchlogit.data.columns import as_numbers, is_text
from torchlogit.data.encoding.categorical import CategoricalLearner, refuse_type
from torchlogit.data.encoding.column_kind import Learned, LearningLimits
from torchlogit.data.encoding.numeric import NumericLearner, not_a_number

_Learner = TypeVar("_Learner", NumericLearner, CategoricalLearner)


class NumericOrCategoricalLearner:
    """Learns a column as numeric, boolean or categorical: as `role` says, or if it is "", as the values suggest.

    changed: whether a value that is not a number followed numbers. The column is then categorical, and must be read
    again from the first row by a `CategoricalLearner`.
    """

    def __init__(self, name: str, role: str, limits: LearningLimits, *, hashed: bool) -> None:
        self._name = name
        self._role = role
        self._limits = limits
        self._hashed = hashed
        self._learner: NumericLearner | CategoricalLearner | None = None
        self.changed = False

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        refuse_type(self._name, column.type, self._role)
        if self.changed:
            return
        numbers = None if self._is_categorical(column.type) else as_numbers(column)
        if numbers is not None:
            self._numeric(column.type).update(numbers, column, locate)
        elif self._role == "numeric":
            problem = f"is not a number; correct the value, or take {self._name!r} out of numeric"
            raise not_a_number(self._name, column, problem)
        elif (categorical := self._categorical()) is not None:
            categorical.update(column, locate)

    def _is_categorical(self, type_: pa.DataType) -> bool:
        if self._role == "numeric":
            return False
        is_learned_so = isinstance(self._learner, CategoricalLearner)
        return self._role == "categorical" or is_learned_so or pa.types.is_dictionary(type_)

    def _numeric(self, type_: pa.DataType) -> NumericLearner:
        if isinstance(self._learner, NumericLearner) and not self._learner.is_empty:
            return self._learner
        are_booleans = pa.types.is_boolean(type_) and not self._role
        may_be_text = self._role != "numeric" and is_text(type_)
        return self._replaced(NumericLearner(self._name, are_booleans=are_booleans, may_be_text=may_be_text))

    def _categorical(self) -> CategoricalLearner | None:
        """The learner of levels; None, and `changed` is set, if earlier values were learned as numbers."""
        if isinstance(self._learner, CategoricalLearner):
            return self._learner
        if self._learner is not None and not self._learner.is_empty:
            self.changed = True
            return None
        forced = self._role == "categorical"
        return self._replaced(CategoricalLearner(self._name, self._limits, forced=forced, hashed=self._hashed))

    def _replaced(self, learner: _Learner) -> _Learner:
        """Replaces the learner. Only missing values have been seen so far, so only their number is carried over."""
        learner.n_missing = 0 if self._learner is None else self._learner.n_missing
        self._learner = learner
        return learner

    def result(self) -> Learned:
        assert self._learner is not None, "no values were seen"
        return self._learner.result()
