"""What columns hold, learned from blocks of rows in one reading, and once more for columns that change their mind.

A column whose values are numbers so far is learned as numbers. Where a later one is not, the column has levels, and
those of the blocks before are learned in another reading, of such columns alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeAlias, TypeVar

import pyarrow as pa

from torchlogit.data.block import Block, Locate
from torchlogit.data.columns import as_numbers, is_text
from torchlogit.data.encoding.categorical import LevelLearner, refuse_type
from torchlogit.data.encoding.crosses import with_crosses
from torchlogit.data.encoding.features import FEW_ROWS, in_threads
from torchlogit.data.encoding.learned import Learned
from torchlogit.data.encoding.numeric import NumberLearner, not_a_number
from torchlogit.data.encoding.text import HashedWordLearner, WordLearner
from torchlogit.data.encoding.vectors import VectorLearner, is_vectors
from torchlogit.errors import DataError
from torchlogit.records import CategoricalColumn, DroppedColumn, HashedColumn, Schema

Read: TypeAlias = Callable[[Sequence[str]], Iterator[Block]]
"""The blocks of a table, of these columns alone, from its first row on."""

_Either = TypeVar("_Either", NumberLearner, LevelLearner)


class Learner(Protocol):
    """Learns from chunks of a column, in order, what the column holds."""

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        """Looks at a chunk; `locate`: where a row of it came from."""

    def result(self) -> Learned:
        """What is kept of the column, and what deserves a look, one sentence each."""


class PlainLearner:
    """Learns a column of numbers, truths or levels, whichever its values show.

    `changed`: what looked like numbers has levels, which a `LevelLearner` is to learn from the first row on.
    """

    def __init__(self, name: str, role: str, *, hashed: bool) -> None:
        self._name = name
        self._role = role
        self._hashed = hashed
        self._learner: NumberLearner | LevelLearner | None = None
        self.changed = False

    def update(self, column: pa.ChunkedArray, locate: Locate) -> None:
        refuse_type(self._name, column.type, self._role)
        if self.changed:
            return
        numbers = None if self._has_levels(column.type) else as_numbers(column)
        if numbers is not None:
            self._numbers(column.type).update(numbers, column, locate)
        elif self._role == "numeric":
            what = f"is no number; correct the value, or take {self._name!r} out of numeric"
            raise not_a_number(self._name, column, what)
        elif (levels := self._levels()) is not None:
            levels.update(column, locate)

    def _has_levels(self, kind: pa.DataType) -> bool:
        if self._role == "numeric":
            return False
        return self._role == "categorical" or isinstance(self._learner, LevelLearner) or pa.types.is_dictionary(kind)

    def _numbers(self, kind: pa.DataType) -> NumberLearner:
        if isinstance(self._learner, NumberLearner) and not self._learner.is_empty:
            return self._learner
        may_be_text = self._role != "numeric" and is_text(kind)
        numbers = NumberLearner(
            self._name, are_truths=pa.types.is_boolean(kind) and not self._role, may_be_text=may_be_text
        )
        return self._instead(numbers)

    def _levels(self) -> LevelLearner | None:
        """None where what was learned before is something else."""
        if isinstance(self._learner, LevelLearner):
            return self._learner
        if self._learner is not None and not self._learner.is_empty:
            self.changed = True
            return None
        return self._instead(LevelLearner(self._name, forced=self._role == "categorical", hashed=self._hashed))

    def _instead(self, learner: _Either) -> _Either:
        """Goes on with this learner: so far, all values were missing."""
        learner.n_missing = 0 if self._learner is None else self._learner.n_missing
        self._learner = learner
        return learner

    def result(self) -> Learned:
        assert self._learner is not None, "no values were looked at"
        record, notices = self._learner.result()
        if self._hashed and isinstance(record, CategoricalColumn):  # one value, and missing ones
            return HashedColumn(self._name, 2), ()
        return record, notices


def learn_schema(
    read: Read,
    names: Sequence[str],
    roles: Mapping[str, str],
    crosses: Sequence[tuple[str, str]],
    hash_bits: int | None,
) -> tuple[Schema, tuple[str, ...]]:
    """What the columns of these names hold, over all rows, and what deserves a look, one sentence each.

    `roles`: by column, where it is not left to its values: numeric, categorical, text or drop. Raises DataError.
    """
    crossed = {f"{first}:{second}": (first, second) for first, second in crosses}
    roles = {**roles, **dict.fromkeys(crossed, "categorical")}
    every = [*names, *crossed]
    kept = [name for name in every if roles.get(name) != "drop"]

    def first(kinds: pa.Schema) -> dict[str, Learner]:
        return {name: _learner(name, kinds.field(name).type, roles.get(name, ""), hash_bits) for name in kept}

    def second(kinds: pa.Schema) -> dict[str, Learner]:
        return {name: LevelLearner(name, forced=False, hashed=hash_bits is not None) for name in changed}

    learners = _reading(read(_sides(kept, crossed)), crosses, first)
    changed = [name for name, learner in learners.items() if isinstance(learner, PlainLearner) and learner.changed]
    if changed:
        learners |= _reading(read(changed), (), second)
    results = [learners[name].result() if name in learners else _left_out(name) for name in every]
    schema = Schema(
        columns=tuple(record for record, _ in results if not isinstance(record, DroppedColumn)),
        dropped=tuple(record for record, _ in results if isinstance(record, DroppedColumn)),
        crosses=tuple(crosses),
        hash_bits=hash_bits,
    )
    return schema, tuple(notice for _, notices in results for notice in notices)


def _sides(names: Iterable[str], crossed: Mapping[str, tuple[str, str]]) -> list[str]:
    """The columns to read for these: those that a cross is made of in its place."""
    return list(dict.fromkeys(side for name in names for side in crossed.get(name, (name,))))


def _learner(name: str, kind: pa.DataType, role: str, hash_bits: int | None) -> Learner:
    if role == "text":
        return WordLearner(name) if hash_bits is None else HashedWordLearner(name, hash_bits)
    if is_vectors(kind) and not role:
        return VectorLearner(name)
    return PlainLearner(name, role, hashed=hash_bits is not None)


def _reading(
    blocks: Iterable[Block],
    crosses: Sequence[tuple[str, str]],
    learners_of: Callable[[pa.Schema], dict[str, Learner]],
) -> dict[str, Learner]:
    """The learners, by column, after one reading of the blocks."""
    learners: dict[str, Learner] | None = None
    with ThreadPoolExecutor(pa.cpu_count()) as pool:
        for block in blocks:
            table = with_crosses(block.table, crosses)
            learners = learners_of(table.schema) if learners is None else learners
            update = partial(_update, learners, table, block.location)
            with block.locating_errors():
                in_threads(update, list(learners), pool if len(block) > FEW_ROWS else None)
    if learners is None:
        raise DataError("the table has no rows; give at least one")
    return learners


def _update(learners: Mapping[str, Learner], table: pa.Table, locate: Locate, name: str) -> None:
    learners[name].update(table.column(name), locate)


def _left_out(name: str) -> Learned:
    return DroppedColumn(name, "left out on request"), ()
