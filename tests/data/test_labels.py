"""The target column: which classes it holds, in which order, and which labels fit a model's classes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from torchlogit.data.block import as_block
from torchlogit.data.labels import MAX_CLASSES, Label, LabelLearner, check_labels, learn_labels
from torchlogit.errors import DataError


def column(values: Sequence[object], kind: pa.DataType | None = None) -> pa.Table:
    return pa.table({"y": pa.array(values, kind)})


CLASSES: dict[str, tuple[pa.Table, tuple[Label, ...], list[int]]] = {
    "text": (column(["yes", "no", "yes"]), ("no", "yes"), [1, 0, 1]),
    "text to trim": (column([" b", "a ", "b\t"]), ("a", "b"), [1, 0, 1]),
    "several": (column(["c", "a", "b", "a"]), ("a", "b", "c"), [2, 0, 1, 0]),
    "capitals differ": (column(["Yes", "yes"]), ("Yes", "yes"), [0, 1]),
    "whole numbers by size": (column([10, 9, 100]), (9, 10, 100), [1, 0, 2]),
    "whole numbers in text, by size": (column(["10", "9", "100"]), (9, 10, 100), [1, 0, 2]),
    "negative": (column(["1", "-1"]), (-1, 1), [1, 0]),
    "whole numbers as floats": (column([1.0, 0.0]), (0, 1), [1, 0]),
    "numbers": (column(["1.5", "0.5"]), (0.5, 1.5), [1, 0]),
    "larger than float64 can tell apart": (
        column(["9007199254740993", "9007199254740992"]), (9007199254740992, 9007199254740993), [1, 0]
    ),
    "numbers among text stay text": (column(["1", "none", "10"]), ("1", "10", "none"), [0, 2, 1]),
    "far out": (column(["1e20", "1"]), ("1", "1e20"), [1, 0]),
    "truths": (column([True, False]), (False, True), [1, 0]),
    "truths in text stay text": (column(["True", "False"]), ("False", "True"), [1, 0]),
    "categories": (column(["b", "a"]).cast(pa.schema([("y", pa.dictionary(pa.int8(), pa.string()))])),
                   ("a", "b"), [1, 0]),
    "days": (column([datetime.date(2024, 2, 1), datetime.date(2024, 1, 1)]), ("2024-01-01", "2024-02-01"), [1, 0]),
    "chunks": (pa.concat_tables([column(["b"]), column(["a"]), column(["b"])]), ("a", "b"), [1, 0, 1]),
}  # fmt: skip


def counts(table: pa.Table) -> list[int]:
    learner = LabelLearner("y")
    learner.update(as_block(table), np.ones(len(table), np.bool_))
    return learner.result().counts.tolist()


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_sorted_and_keep_their_kind(name: str) -> None:
    table, classes, codes = CLASSES[name]
    learned = learn_labels(table, "y")
    assert learned.classes == classes
    assert [type(label) for label in learned.classes] == [type(label) for label in classes]
    assert learned.codes.tolist() == codes
    assert counts(table) == np.bincount(codes).tolist()


@pytest.mark.parametrize("name", CLASSES)
def test_a_tables_own_labels_fit(name: str) -> None:
    table, classes, codes = CLASSES[name]
    assert check_labels(table, "y", classes).tolist() == codes


SPELLINGS = {
    "with a plus": ["+1", "-1"],
    "with an exponent": ["1e5", "2e5"],
    "with more decimals": ["0.50", "1.50"],
    "with zeros before": ["01", "02"],
    "far out": ["1e20", "1"],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_numbers_in_another_spelling_fit_their_own_model(name: str) -> None:
    table = column(SPELLINGS[name])
    learned = learn_labels(table, "y")
    assert check_labels(table, "y", learned.classes).tolist() == learned.codes.tolist()


def test_floats_of_which_one_is_whole_fit_their_own_model() -> None:
    table = column([0.5, 1.0])
    assert check_labels(table, "y", learn_labels(table, "y").classes).tolist() == [0, 1]


@pytest.mark.parametrize("values", [["1", "1.0", "2"], ["1", "01", "2"]])
def test_no_class_is_there_twice(values: list[str]) -> None:
    classes = learn_labels(column(values), "y").classes
    assert len({*classes}) == len(classes)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=4), min_size=2))
def test_the_code_of_a_row_points_at_its_text(texts: list[str]) -> None:
    values = [f"label {text}".strip() for text in texts]
    if not 2 <= len({*values}) <= 20:  # more are refused
        return
    learned = learn_labels(column(values), "y")
    assert list(learned.classes) == sorted({*values})
    assert [learned.classes[code] for code in learned.codes] == values
    assert sum(counts(column(values))) == len(values)


@example([-(2**62) - 1, -(2**62)], False)  # the same float64
@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=30), st.booleans())
def test_whole_numbers_stay_exact(numbers: list[int], as_text: bool) -> None:
    if len({*numbers}) < 2:
        return
    twice = 2 * numbers
    table = column([str(number) for number in twice] if as_text else twice)
    learned = learn_labels(table, "y")
    assert list(learned.classes) == sorted({*numbers})
    assert [learned.classes[code] for code in learned.codes] == twice
    assert check_labels(table, "y", learned.classes).tolist() == learned.codes.tolist()


def test_the_positive_class_comes_last() -> None:
    assert learn_labels(column(["a", "b", "b"]), "y", "a").classes == ("b", "a")
    assert learn_labels(column(["a", "b", "b"]), "y", "a").codes.tolist() == [1, 0, 0]
    assert learn_labels(column(["a", "b", "b"]), "y", "b").classes == ("a", "b")
    assert learn_labels(column([0, 1, 1]), "y", "0").classes == (1, 0)


def test_counts_have_a_place_for_every_class() -> None:
    assert counts(column(["a", "b", "c", "c"])) == [1, 1, 2]


REFUSED: dict[str, tuple[pa.Table, str | None, str, int | None]] = {
    "absent": (pa.table({"x": [1], "income": [2]}).rename_columns(["x", "yy"]), None,
               "there is no target column 'y'; did you mean 'yy'?", None),
    "one class": (column(["a", "a"]), None, "target 'y' has one class only, 'a'; expected at least two", None),
    "one class, a number": (column([1, 1]), None, "target 'y' has one class only, 1; expected at least two", None),
    "missing": (column(["a", None, "b", "?", ""]), None,
                "target 'y' is missing in 3 of 5 rows; fill it or remove these rows", 1),
    "missing numbers": (column([0.0, float("nan"), 1.0]), None,
                        "target 'y' is missing in 1 of 3 rows; fill it or remove these rows", 1),
    "nothing but missing": (column([None, None]), None,
                            "target 'y' is missing in 2 of 2 rows; fill it or remove these rows", 0),
    "many": (column(2 * list(range(1000, 1000 + MAX_CLASSES + 1))), None,
             "target 'y' has 201 distinct values ('1000', '1001', '1002', ...); expected at most 200 classes: "
             "name a column of classes, or put the values into a few groups first", None),
    "hardly any twice": (column([i / 100 for i in range(1, 61)] + [0.5]), None,
                         "target 'y' has 60 distinct values ('0.01', '0.02', '0.03', ...); "
                         "expected at most 30 classes: "
                         "name a column of classes, or put the values into a few groups first", None),
    "positive unknown": (column(["a", "b"]), "c", "the positive class 'c' is not in target 'y': 'a', 'b'", None),
    "positive of three": (column(["a", "b", "c"]), "c",
                          "a positive class needs two classes, and target 'y' has 3; leave it out", None),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_target_that_cannot_be_learned_is_refused(name: str) -> None:
    table, positive, message, row = REFUSED[name]
    with pytest.raises(DataError) as caught:
        learn_labels(table, "y", positive)
    assert caught.value.message == message
    assert caught.value.row == row


def test_as_many_classes_as_allowed_are_learned() -> None:
    assert learn_labels(column(2 * list(range(MAX_CLASSES))), "y").classes == tuple(range(MAX_CLASSES))


UNKNOWN: dict[str, tuple[pa.Table, tuple[Label, ...], str, int]] = {
    "full stops": (
        column(["<=50K", ">50K.", "<=50K.", ">50K."]), ("<=50K", ">50K"),
        "target 'y' holds '>50K.', '<=50K.' in 3 of 4 rows; the model's classes are '<=50K', '>50K': "
        "correct the labels", 1
    ),
    "numbers for truths": (
        column([1, 0]), (False, True),
        "target 'y' holds '1', '0' in 2 of 2 rows; the model's classes are 'false', 'true': correct the labels", 0
    ),
    "many strange ones": (
        column(["a", *"vwxyz"]), ("a", "b"),
        "target 'y' holds 'v', 'w', 'x', ... in 5 of 6 rows; the model's classes are 'a', 'b': correct the labels", 1
    ),
    "many classes": (
        column(["x"]), tuple("abcdefghijkl"),
        "target 'y' holds 'x' in 1 of 1 rows; the model's classes are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', "
        "'j', ...: correct the labels", 0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_labels_that_the_model_does_not_know_are_refused_by_name(name: str) -> None:
    table, classes, message, row = UNKNOWN[name]
    with pytest.raises(DataError) as caught:
        check_labels(table, "y", classes)
    assert caught.value.message == message
    assert (caught.value.column, caught.value.row) == ("y", row)


def test_labels_may_lack_a_class_and_come_as_another_type() -> None:
    assert check_labels(column(["2", "2"]), "y", (1, 2)).tolist() == [1, 1]
    assert check_labels(column([2.0, 1.0]), "y", (1, 2)).tolist() == [1, 0]
    assert check_labels(column(["true"]), "y", (False, True)).tolist() == [1]


def test_missing_labels_are_refused_where_a_model_is_measured_too() -> None:
    with pytest.raises(DataError) as caught:
        check_labels(column(["a", "", "b"]), "y", ("a", "b"))
    assert str(caught.value) == (
        "target 'y' is missing in 1 of 3 rows; fill it or remove these rows (row 1, counted from 0)"
    )
