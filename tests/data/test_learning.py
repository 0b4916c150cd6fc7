"""What is learned from a stream of rows does not depend on how it was cut, and is what a table in memory gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse

from torchlogit.data import encoder as encoding
from torchlogit.data import pieces
from torchlogit.data.encoder import TableEncoder
from torchlogit.data.learning import LearnedTable, drawn, learn_table
from torchlogit.data.remarks import added, sentences
from torchlogit.data.schema import schema_to_json
from torchlogit.data.source import START, Block, Cursor
from torchlogit.data.vectors import as_vectors


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
several_pieces = settings(max_examples=6, deadline=None)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small table has several pieces."""
    monkeypatch.setattr(pieces, "PIECE", 8)


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
        patch.setattr(pieces, "PIECE", 8)
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
