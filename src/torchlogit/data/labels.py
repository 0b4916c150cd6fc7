"""The target column: learning its classes, and checking labels against known classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from torchlogit.data.block import Block, as_block
from torchlogit.data.columns import Levels, as_levels, as_numbers
from torchlogit.data.wording import examples, suggestion
from torchlogit.errors import DataError

Label = str | int | float | bool
MAX_CLASSES = 200  # a target with more distinct values is refused: it is probably a quantity, not a class
ALWAYS_CLASSES = 20  # a target with more distinct values than this needs at least two rows per value on average


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes in order, and the index of each row's class, (n,)."""

    classes: tuple[Label, ...]
    codes: NDArray[np.int64]


def learn_labels(table: pa.Table, target: str, positive: str | None = None) -> Labels:
    """The classes of a target column, sorted (numbers by size), and the class of every row.

    positive: for two classes, the class whose probability is modelled; it is put last. Raises DataError if the column
    does not exist, has missing values, or has only one class or too many.

    >>> learn_labels(pa.table({"y": ["no", "yes", "no"]}), "y")
    Labels(classes=('no', 'yes'), codes=array([0, 1, 0]))
    """
    learner = LabelLearner(target, positive)
    learner.update(as_block(table), np.ones(table.num_rows, np.bool_))
    classes = learner.result().classes
    return Labels(classes, check_labels(table, target, classes))


@dataclass(frozen=True, slots=True)
class ClassTotals:
    """The classes in order; the number and the total weight of the training rows of each, (n_classes,)."""

    classes: tuple[Label, ...]
    counts: NDArray[np.int64]
    weight: NDArray[np.float64]


class LabelLearner:
    """Learns the classes of a target column from blocks of rows."""

    def __init__(self, target: str, positive: str | None = None) -> None:
        self._target = target
        self._positive = positive
        self._sums: dict[str, NDArray[np.float64]] = {}  # of each text: training rows and their weight
        self._are_booleans = False
        self._n_rows = 0

    def update(self, block: Block, kept: NDArray[np.bool_], weight: NDArray[np.float64] | None = None) -> None:
        """Learns from more rows. kept: mask of the training rows; only these are counted and weighted."""
        self._n_rows += len(block)
        rows = f"{self._n_rows:,} rows" if block.last else f"the first {self._n_rows:,} rows"
        levels = _target_levels(block.table, self._target, rows)
        self._are_booleans |= pa.types.is_boolean(block.table.schema.field(self._target).type)
        codes, n = levels.codes[kept], len(levels.texts)
        counts = np.bincount(codes, minlength=n)
        weights = counts if weight is None else np.bincount(codes, weights=weight[kept], minlength=n)
        for text, *sums in zip(levels.texts.to_pylist(), counts, weights, strict=True):
            self._sums[text] = self._sums.get(text, 0.0) + np.array(sums, np.float64)
        if len(self._sums) > MAX_CLASSES and not block.last:
            raise self._too_many(MAX_CLASSES, f" in {rows}")

    def result(self) -> ClassTotals:
        """The classes, sorted, and their totals; DataError if there is only one class, or too many."""
        classes, max_classes = self._classes(), min(MAX_CLASSES, max(ALWAYS_CLASSES, self._n_rows // 2))
        if len(classes) == 1:
            raise DataError(
                f"target {self._target!r} has one class only, {classes[0][1]!r}; expected at least two",
                column=self._target,
            )
        if len(classes) > max_classes:
            raise self._too_many(max_classes)
        if self._positive is not None:
            classes = _with_last(classes, self._positive, self._target)
        sums = np.array([self._sums[text] for text, _ in classes])
        return ClassTotals(tuple(label for _, label in classes), sums[:, 0].astype(np.int64), sums[:, 1])

    def _classes(self) -> list[tuple[str, Label]]:
        """The text and the label of each class."""
        texts = list(self._sums)
        return sorted(_as_labels(texts, are_booleans=self._are_booleans).items(), key=_order(texts))

    def _too_many(self, max_classes: int, where: str = "") -> DataError:
        texts = [text for text, _ in self._classes()]
        return DataError(
            f"target {self._target!r} has {len(texts):,} distinct values ({examples(texts)}){where}; "
            f"expected at most {max_classes} classes: name a column of classes, or put the values into a few groups "
            "first",
            column=self._target,
        )


def check_labels(table: pa.Table, target: str, classes: Sequence[Label]) -> NDArray[np.int64]:
    """The index of each row's label in `classes`; DataError for a label that is not one of them.

    >>> check_labels(pa.table({"y": ["yes", "no"]}), "y", ("no", "yes"))
    array([1, 0])
    """
    levels = _target_levels(table, target, f"{table.num_rows:,} rows")
    codes = _codes(levels, [_text(label) for label in classes])
    unseen = np.flatnonzero(codes < 0)
    if len(unseen):
        unknown = levels.texts.take(pa.array(np.unique(levels.codes[unseen]))).to_pylist()
        raise DataError(
            f"target {target!r} holds {examples(unknown)} in {len(unseen):,} of {table.num_rows:,} rows; "
            f"the model's classes are {examples([_text(label) for label in classes], limit=10)}: correct the labels",
            column=target,
            row=int(unseen[0]),
        )
    return codes


def _target_levels(table: pa.Table, target: str, rows: str) -> Levels:
    if target not in table.column_names:
        raise DataError(f"there is no target column {target!r}; {suggestion(target, table.column_names)}")
    kind = table.schema.field(target).type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise DataError(f"target {target!r} holds values of type {kind}; expected labels: text, numbers or booleans")
    levels = as_levels(table.column(target))
    missing = np.flatnonzero(levels.codes < 0)
    if len(missing):
        raise DataError(
            f"target {target!r} is missing in {len(missing):,} of {rows}; fill it or remove these rows",
            column=target,
            row=int(missing[0]),
        )
    return levels


def _as_labels(texts: Sequence[str], *, are_booleans: bool) -> dict[str, Label]:
    """The label of each text: a boolean; a number if every text is a number as Python writes it; else the text."""
    if are_booleans:
        return {text: text == "true" for text in texts}
    numbers = [_number(text) for text in texts]
    known = [number for number in numbers if number is not None]
    if len({*known}) == len(texts):
        return dict(zip(texts, known, strict=True))
    return dict(zip(texts, texts, strict=True))


def _number(text: str) -> int | float | None:
    """The number in a text; None if there is none, or if Python would write it differently."""
    try:
        number = int(text) if text.lstrip("-").isdigit() else float(text)
    except ValueError:
        return None
    return number if str(number) == text and abs(number) < float("inf") else None


def _order(texts: Sequence[str]) -> Callable[[tuple[str, Label]], tuple[float, str]]:
    """The sort key of (text, label): by size if every text is a number, in any notation; else by text."""
    numbers = as_numbers(pa.chunked_array([pa.array(texts, pa.string())]))
    sizes = {} if numbers is None else dict(zip(texts, numbers.tolist(), strict=True))

    def key(item: tuple[str, Label]) -> tuple[float, str]:
        text, label = item
        # Labels that are Python integers are compared exactly, also beyond 2^53.
        return (sizes.get(text, 0.0) if isinstance(label, str) else label, text)

    return key


def _with_last(classes: list[tuple[str, Label]], positive: str, target: str) -> list[tuple[str, Label]]:
    texts = [text for text, _ in classes]
    if positive not in texts:
        raise DataError(f"the positive class {positive!r} is not in target {target!r}: {examples(texts, limit=10)}")
    if len(classes) != 2:
        raise DataError(f"a positive class needs two classes, and target {target!r} has {len(classes)}; leave it out")
    return sorted(classes, key=lambda item: item[0] == positive)


def _codes(levels: Levels, texts: Sequence[str]) -> NDArray[np.int64]:
    place = {text: index for index, text in enumerate(texts)}
    known = np.array([place.get(text, -1) for text in levels.texts.to_pylist()], dtype=np.int64)
    return known[levels.codes]


def _text(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
