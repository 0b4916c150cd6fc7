"""Learns an encoder from blocks of rows in one reading, and a second one of the columns that turn out to hold text.

A column is learned as numeric as long as all its values are numbers. If a later value is not a number, the column is
categorical; all such columns are read again from the first row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import pyarrow as pa

from torchlogit.data.block import Block, Locate
from torchlogit.data.encoding.categorical import CategoricalColumn, CategoricalLearner
from torchlogit.data.encoding.column_kind import (
    LIMITS,
    ColumnLearner,
    ConstantColumn,
    DroppedColumn,
    Learned,
    LearningLimits,
)
from torchlogit.data.encoding.crosses import checked_cross, with_crosses
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.features import FEW_ROWS, in_threads
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.kinds import learner_of
from torchlogit.data.encoding.numeric import NumericColumn, as_given
from torchlogit.data.encoding.numeric_or_categorical import NumericOrCategoricalLearner
from torchlogit.data.encoding.schema import Schema
from torchlogit.data.wording import suggestion
from torchlogit.errors import DataError

MAX_HASH_BITS = 24  # the largest hash_bits: hashed columns then share 2^24 features

Read: TypeAlias = Callable[[Sequence[str]], Iterator[Block]]
"""read(names): all blocks of rows, from the first one, with the columns of these names."""


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """The user's choices about columns: the parameters of `TableEncoder`. Values decide the kind of the other columns.

    numeric, categorical, text: names of the columns of each kind. drop: names of the columns to leave out. crosses:
    pairs of columns, "A:B". hash_bits: all levels share 2^hash_bits features; None: one feature per level. standardize:
    whether numbers are encoded as (x - mean) / scale in float32; otherwise as they are, in float64.
    """

    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    drop: Sequence[str] = ()
    text: Sequence[str] = ()
    crosses: Sequence[str] = ()
    hash_bits: int | None = None
    standardize: bool = True

    def roles(self, columns: Sequence[str]) -> dict[str, str]:
        """The role of every named column; DataError for a name that is not a column, or that has two roles."""
        roles: dict[str, str] = {}
        for role in ("numeric", "categorical", "drop", "text"):
            for name in _listed(getattr(self, role)):
                if name not in columns:
                    raise DataError(f"{role} names {name!r}, and there is no such column; {suggestion(name, columns)}")
                if roles.setdefault(name, role) != role:
                    raise DataError(f"column {name!r} is named in {roles[name]} and in {role}; keep one", column=name)
        return roles

    def pairs(self, columns: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """The two columns of every cross."""
        return tuple(checked_cross(cross, columns) for cross in _listed(self.crosses))

    def checked_bits(self) -> int | None:
        """hash_bits; DataError where it is out of range."""
        bits = self.hash_bits
        if bits is not None and not 1 <= bits <= MAX_HASH_BITS:
            raise DataError(f"hash_bits={bits!r}: expected a whole number from 1 to {MAX_HASH_BITS}, or None")
        return bits


def learn_encoder(
    read: Read, names: Sequence[str], options: EncoderOptions, limits: LearningLimits = LIMITS
) -> tuple[Encoder, tuple[str, ...]]:
    """Learns the encoder of the columns with these names from the blocks of `read`; returns it and the warnings.

    Raises DataError for values that cannot be used: infinite ones, dates, free text, ids, nested types.
    """
    hash_bits, roles, crosses = options.checked_bits(), options.roles(names), options.pairs(names)
    crossed = {f"{first}:{second}": (first, second) for first, second in crosses}
    roles = {**roles, **dict.fromkeys(crossed, "categorical")}
    every = [*names, *crossed]
    kept = [name for name in every if roles.get(name) != "drop"]
    hashed = hash_bits is not None

    def first(types: pa.Schema) -> dict[str, ColumnLearner]:
        return {name: learner_of(name, types.field(name).type, roles.get(name, ""), hash_bits, limits) for name in kept}

    def second(types: pa.Schema) -> dict[str, ColumnLearner]:
        return {name: CategoricalLearner(name, limits, forced=False, hashed=hashed) for name in changed}

    learners = _learners_after(read(_columns_to_read(kept, crossed)), crosses, first)
    changed = [
        name
        for name, learner in learners.items()
        if isinstance(learner, NumericOrCategoricalLearner) and learner.changed
    ]
    if changed:
        learners |= _learners_after(read(changed), (), second)
    results = [
        _without_constants(learners[name].result(), hashed=hashed)
        if name in learners
        else Learned(DroppedColumn(name, "left out on request"))
        for name in every
    ]
    columns = [result.column for result in results if not isinstance(result.column, DroppedColumn | ConstantColumn)]
    if not options.standardize:
        columns = [as_given(column) if isinstance(column, NumericColumn) else column for column in columns]
    dropped = [result.column for result in results if isinstance(result.column, DroppedColumn)]
    schema = Schema(tuple(columns), tuple(dropped), crosses, hash_bits, options.standardize)
    return Encoder(schema, names), tuple(warning for result in results for warning in result.warnings)


def _listed(names: str | Sequence[str]) -> Sequence[str]:
    return (names,) if isinstance(names, str) else names


def _columns_to_read(names: Iterable[str], crossed: Mapping[str, tuple[str, str]]) -> list[str]:
    """These columns, each cross replaced by the two columns that it is made of."""
    return list(dict.fromkeys(part for name in names for part in crossed.get(name, (name,))))


def _learners_after(
    blocks: Iterable[Block],
    crosses: Sequence[tuple[str, str]],
    learners_of: Callable[[pa.Schema], dict[str, ColumnLearner]],
) -> dict[str, ColumnLearner]:
    """The learner of each column after it has seen all blocks."""
    learners: dict[str, ColumnLearner] | None = None
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


def _update(learners: Mapping[str, ColumnLearner], table: pa.Table, locate: Locate, name: str) -> None:
    learners[name].update(table.column(name), locate)


def _without_constants(learned: Learned, *, hashed: bool) -> Learned:
    """A constant column is left out; if it has missing values, only the indicator of missing values is kept."""
    match learned.column:
        case ConstantColumn(name, value, has_missing=False):
            warning = f"column {name!r} holds one value only, {value}, and is left out"
            return Learned(DroppedColumn(name, "one value only"), (warning,))
        case ConstantColumn(name) if hashed:
            return Learned(HashedColumn(name, 2))
        case ConstantColumn(name, value):
            warning = f"column {name!r} holds one value only, {value}: its only feature is whether it is missing"
            return Learned(CategoricalColumn(name, (), has_missing=True), (warning,))
    return learned
