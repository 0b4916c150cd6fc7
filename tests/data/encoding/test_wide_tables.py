"""Wide features: CSR in place of a dense matrix, hashed levels, crosses, words, vectors. The numbers stay the same."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, issparse
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.utils import murmurhash3_32

from profiles import examples
from torchlogit import TableEncoder
from torchlogit.data.encoding.encoder import Encoder
from torchlogit.data.encoding.hashing import HashedColumn
from torchlogit.data.encoding.schema import Schema, schema_from_json, schema_to_json
from torchlogit.data.encoding.text import HashedTextColumn, TextColumn
from torchlogit.data.encoding.vectors import VectorColumn
from torchlogit.data.reading.source import open_source
from torchlogit.data.reading.tables import table_from
from torchlogit.data.sparse_vectors import as_vectors
from torchlogit.errors import DataError, ModelFileError, TorchlogitWarning

TEXTS = ["The cat sat, the cat ate", None, "a dog sat on THE mat", "", "mat MAT mat", "NA"]
WIDE = {
    "n": [1.0, 2.0, None, 4.0, 5.0, 5.0],
    "flag": [True, False, True, None, True, False],
    "job": ["clerk", "smith", None, "cook", "clerk", "smith"],
    "city": ["A", "B", "A", "B", "C", "C"],
    "body": TEXTS,
}


def dense(matrix: Any) -> np.ndarray:
    return matrix.toarray() if issparse(matrix) else matrix


def encoders() -> dict[str, TableEncoder]:
    return {
        "plain": TableEncoder(text="body"),
        "crossed": TableEncoder(text="body", crosses=["job:city"]),
        "hashed": TableEncoder(text="body", crosses=["job:city"], hash_bits=4),
    }


# Sparse and dense


@pytest.mark.parametrize("name", encoders())
def test_sparse_features_are_the_dense_ones(name: str) -> None:
    encoder = encoders()[name].fit(WIDE)
    by_default = encoder.transform(WIDE)
    assert isinstance(by_default, np.ndarray)
    sparse = Encoder(encoder.schema_, max_dense_features=0).encode(table_from(WIDE)).values
    assert isinstance(sparse, csr_array)
    assert sparse.dtype == by_default.dtype == np.float32
    assert sparse.has_canonical_format
    np.testing.assert_array_equal(sparse.toarray(), by_default)
    assert sparse.shape[1] == len(encoder.get_feature_names_out()) == len(encoder.schema_.units)


def test_features_are_sparse_where_there_are_many_and_most_are_zero() -> None:
    levels = {"c": [f"c{i % 400}" for i in range(1200)], "n": list(range(1200))}
    assert issparse(TableEncoder().fit_transform(levels))
    few = {"c": [f"c{i % 100}" for i in range(1200)]}
    assert not issparse(TableEncoder().fit_transform(few))
    numbers = {f"n{i}": [1.0, 2.0, i] for i in range(3, 303)}
    assert not issparse(TableEncoder().fit_transform(numbers))


NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6))
ROWS = st.lists(
    st.tuples(
        NUMBERS, st.sampled_from(["a", "b", "c", None]), st.sampled_from([True, False, None]), st.text(max_size=9)
    ),
    min_size=2,
    max_size=20,
)


@examples(50)
@given(ROWS, st.sampled_from([None, 3]))
def test_sparse_is_dense_whatever_the_table(rows: list[tuple[object, ...]], hash_bits: int | None) -> None:
    columns = [[*values, *more] for values, more in zip(zip(*rows, strict=True), MORE, strict=True)]
    table = dict(zip(("n", "c", "t", "body"), columns, strict=True))
    encoder = TableEncoder(text="body", hash_bits=hash_bits, crosses=["c:t"], numeric="n", categorical="c").fit(table)
    expected = encoder.encode(table)
    found = Encoder(encoder.schema_, max_dense_features=0).encode(pa.table(table))
    np.testing.assert_array_equal(dense(found.values), dense(expected.values))
    assert found.messages == expected.messages
    again = TableEncoder.from_schema(schema_from_json(json.loads(json.dumps(schema_to_json(encoder.schema_)))))
    assert again.schema_ == encoder.schema_
    np.testing.assert_array_equal(dense(again.encode(table).values), dense(expected.values))


MORE = ([0.5, 1.0], ["a", "b"], [True, False], ["some words", "more of them"])


# Hashed levels


def test_a_level_is_a_sign_at_the_place_of_its_hash() -> None:
    encoder = TableEncoder(hash_bits=4).fit({"job": ["clerk", "smith", None], "city": ["A", "B", "A"]})
    assert encoder.schema_.columns == (HashedColumn("job", 3), HashedColumn("city", 2))
    assert encoder.get_feature_names_out().tolist() == [f"hash[{place}]" for place in range(16)]
    rows = [["job=cook", "city=A"], ["job=NA", "city=B"]]
    expected = np.zeros((2, 16), np.float32)
    for row, texts in enumerate(rows):
        for text in texts:
            number = murmurhash3_32(text, seed=0)
            expected[row, abs(number) % 16] += 1 if number >= 0 else -1
    found = encoder.transform({"job": ["cook", "?"], "city": ["A", "B"]})
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, FeatureHasher(16, input_type="string").transform(rows).toarray())


def test_numbers_and_truths_are_not_hashed() -> None:
    encoder = TableEncoder(hash_bits=2).fit({"n": [1, 2, 4], "t": [True, False, True], "c": ["a", "b", "c"]})
    assert encoder.get_feature_names_out().tolist() == ["n", "t", "hash[0]", "hash[1]", "hash[2]", "hash[3]"]
    assert TableEncoder(hash_bits=2).fit({"n": [1, 2, 4]}).get_feature_names_out().tolist() == ["n"]


def test_the_share_of_levels_that_collide_is_what_hashing_gives() -> None:
    levels = [f"level {i}" for i in range(3000)]
    encoder = TableEncoder(hash_bits=12, categorical="c").fit({"c": levels})
    found = encoder.transform({"c": levels})
    places = np.bincount(found.indices, minlength=4096)
    share = places[places > 1].sum() / 3000
    assert encoder.schema_.share_that_collides == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("bits", [0, 25, -1])
def test_hash_bits_are_few(bits: int) -> None:
    with pytest.raises(DataError, match=rf"^hash_bits={bits}: expected a whole number from 1 to 24, or None$"):
        TableEncoder(hash_bits=bits).fit({"c": ["a", "b"]})


# Crosses


def test_a_cross_is_a_category_of_pairs() -> None:
    table = {"job": ["clerk", "smith", None, "clerk"], "month": [1, 2, 2, 1.0]}
    encoder = TableEncoder(crosses="job:month").fit(table)
    names = encoder.get_feature_names_out().tolist()
    assert names == [
        "job=clerk",
        "job=smith",
        "job=NA",
        "month",
        "job:month=clerk:1",
        "job:month=smith:2",
        "job:month=NA",
    ]
    assert encoder.n_features_in_ == 2
    assert encoder.transform(table)[:, 4:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    unseen = r"^column 'job:month': 1 row holds a level not seen in training \('smith:1'\)"
    with pytest.warns(TorchlogitWarning, match=unseen):
        assert encoder.transform({"job": ["smith"], "month": [1]})[0, 4:].tolist() == [0, 0, 0]
    with pytest.raises(DataError, match=r"^column 'month' is missing; the model was trained on it$"):
        encoder.transform({"job": ["smith"]})


CROSSES = {
    "a": "crosses names 'a', where two columns A:B were expected; the columns are 'a', 'b', 'c:d', 'a:b'",
    "a:x": "crosses names 'a:x', where two columns A:B were expected; the columns are 'a', 'b', 'c:d', 'a:b'",
    "a:b": "the cross 'a:b' and a column have the same name; rename the column",
}


@pytest.mark.parametrize("cross", CROSSES)
def test_a_cross_that_is_none(cross: str) -> None:
    table = {name: ["x", "y"] for name in ("a", "b", "c:d", "a:b")}
    with pytest.raises(DataError) as error:
        TableEncoder(crosses=[cross]).fit(table)
    assert error.value.message == CROSSES[cross]
    assert "a:c:d=x:x" in TableEncoder(crosses=["a:c:d"]).fit(table).get_feature_names_out()


# Text


def test_words_have_tf_idf_as_scikit_learn_has_it() -> None:
    encoder = TableEncoder(text=["body"]).fit({"body": TEXTS})
    (column,) = encoder.schema_.columns
    assert isinstance(column, TextColumn)
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    expected = vectorizer.fit_transform([text or "" for text in TEXTS]).toarray()
    assert column.words == tuple(vectorizer.get_feature_names_out())
    np.testing.assert_allclose(dense(encoder.transform({"body": TEXTS})), expected, rtol=1e-6)
    new = ["cat unseen cat", None]
    np.testing.assert_allclose(
        dense(encoder.transform({"body": new})), vectorizer.transform(["cat unseen cat", ""]).toarray(), rtol=1e-6
    )
    assert encoder.get_feature_names_out()[0] == "body=ate"


def test_hashed_words_have_tf_idf_as_scikit_learn_has_it() -> None:
    encoder = TableEncoder(text=["body"], hash_bits=5).fit({"body": TEXTS})
    (column,) = encoder.schema_.columns
    assert isinstance(column, HashedTextColumn)
    texts = [text or "" for text in TEXTS]
    counted = HashingVectorizer(n_features=32, alternate_sign=False, norm=None).transform(texts)
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counted).toarray()
    np.testing.assert_allclose(dense(encoder.transform({"body": TEXTS})), expected, rtol=1e-6)
    assert encoder.get_feature_names_out()[31] == "body[31]"


def test_text_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match=r"^column 'body' holds values of type int64, where texts were expected$"):
        TableEncoder(text="body").fit({"body": [1, 2]})
    with pytest.raises(DataError, match=r"^column 'body' holds no words to learn from; leave it out of text$"):
        TableEncoder(text="body").fit({"body": ["", "?"]})
    with pytest.raises(DataError, match=r"^text names 'bdy', and there is no such column; did you mean 'body'\?$"):
        TableEncoder(text="bdy").fit({"body": ["", "?"]})


# Vectors


def vectors(matrix: list[list[float]], first: int = 1) -> pa.ChunkedArray:
    given = csr_array(np.array(matrix))
    return pa.chunked_array([as_vectors(given.indptr, given.indices.astype(np.int32) + first, given.data)])


def test_vectors_are_features_as_they_are() -> None:
    matrix = [[0.0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 3]]
    table = pa.table({"f": vectors(matrix)})
    encoder = TableEncoder().fit(table)
    assert encoder.schema_.columns == (VectorColumn("f", 1, 4, 0.75),)
    assert encoder.get_feature_names_out().tolist() == ["f1", "f2", "f3", "f4"]
    sparse = Encoder(encoder.schema_, max_dense_features=0)
    found = sparse.encode(table).values
    assert isinstance(found, csr_array)
    assert found.toarray().tolist() == matrix
    assert dense(sparse.encode(table.slice(1, 2)).values).tolist() == matrix[1:3]
    parts = pa.concat_tables([table.slice(2), table.slice(0, 2)])
    assert dense(sparse.encode(parts).values).tolist() == matrix[2:] + matrix[:2]
    from_zero = TableEncoder().fit(pa.table({"f": vectors(matrix, first=0)}))
    assert from_zero.get_feature_names_out().tolist() == ["f0", "f1", "f2", "f3"]


def test_vectors_of_other_widths() -> None:
    encoder = TableEncoder().fit(pa.table({"f": vectors([[1.0, 1], [1, 1]])}))
    assert encoder.transform(pa.table({"f": vectors([[3.0]])})).tolist() == [[3, 0]]
    with pytest.warns(TorchlogitWarning) as caught:
        wider = encoder.transform(pa.table({"f": vectors([[0.0, 2, 3, 4], [1, 0, 0, 0], [0, 0, 5, 0]])}))
    assert str(caught[0].message) == "column 'f': 2 rows hold features not seen in training ('f3', 'f4'), left out"
    assert wider.tolist() == [[0, 2], [1, 0], [0, 0]]
    with pytest.raises(DataError) as error:
        encoder.transform(pa.table({"f": vectors([[0.0, 1], [1, 0]], first=0)}))
    assert (error.value.message, error.value.row) == (
        "column 'f' holds index 0, but indices start at 1 in training; number the features in the same way", 1
    )  # fmt: skip
    with pytest.raises(DataError, match="holds a value that is not a finite number; correct it"):
        encoder.transform(pa.table({"f": vectors([[np.inf, 1]])}))
    with pytest.raises(DataError, match=r"^column 'f' holds double, where sparse vectors were expected$"):
        encoder.transform({"f": [1.0]})


def test_vectors_survive_parquet(tmp_path: Path) -> None:
    table = pa.table({"f": vectors([[0.0, 2], [1, 0]]), "n": [1, 2]})
    pq.write_table(table, tmp_path / "v.parquet")
    read = open_source([tmp_path / "v.parquet"]).read().table
    encoder = TableEncoder().fit(table)
    np.testing.assert_array_equal(dense(encoder.transform(read)), dense(encoder.transform(table)))


# The schema as JSON


def test_wrong_values_of_wide_columns_in_the_json_are_refused() -> None:
    data = schema_to_json(encoders()["hashed"].fit(WIDE).schema_)
    for change in ({"crosses": [["a"]]}, {"crosses": [["a", 1]]}, {"crosses": 1}, {"hash_bits": 0}, {"hash_bits": "4"}):
        with pytest.raises(ModelFileError, match="the file is damaged"):
            schema_from_json({**data, **change})
    text = schema_to_json(Schema((TextColumn("t", ("a", "b"), (1, 2), 3, 1.0),)))
    for key, value in {"words": ["a", "a"], "counts": [1, -1], "n_texts": 1.5, "filled": None}.items():
        wrong = {**text, "columns": [{**text["columns"][0], key: value}]}
        with pytest.raises(
            ModelFileError, match=f"a TextColumn in the schema has .* as its {key}; the file is damaged"
        ):
            schema_from_json(wrong)


# JSON lines and long fields


def test_json_lines_keep_texts_and_numbers(tmp_path: Path) -> None:
    lines = [{"a": 1, "t": "2020-01-01"}, {"a": 2.5, "t": "2021-01-01 10:00:00"}, {"t": None}, {"b": True}]
    content = "\n\n".join(map(json.dumps, lines)) + "\n"
    (tmp_path / "a.jsonl").write_text(content)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    for name in ("a.jsonl", "b.jsonl.gz"):
        table = open_source([tmp_path / name]).read().table
        assert table.column("a").to_pylist() == [1, 2.5, None, None]
        assert table.column("t").to_pylist() == ["2020-01-01", "2021-01-01 10:00:00", None, None]
        assert table.column("b").to_pylist() == [None, None, None, True]


BAD_LINES = {
    "no JSON": ('{"a": 1}\n{"a": 1\n', "a.jsonl line 2 is not JSON (Expecting ',' delimiter: "
                "line 2 column 1 (char 8)): '{\"a\": 1'"),
    "no object": ('{"a": 1}\n\n[1]\n', "a.jsonl line 3 holds '[1]'; expected an object, {...}"),
    "types": ('{"a": 1}\n{"a": "x"}\n', "a.jsonl line 2: 'a' is '\"x\"', and of another type before; write the values "
              "of a key alike"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_LINES)
def test_json_lines_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    content, message = BAD_LINES[name]
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError) as error:
        open_source([tmp_path / "a.jsonl"]).read()
    assert str(error.value) == message


def test_json_lines_cut_short(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:-12])
    with pytest.raises(DataError, match=r"^a\.jsonl\.gz is not a whole gzip file; compress it or fetch it again$"):
        open_source([tmp_path / "a.jsonl.gz"]).read()


def test_fields_longer_than_a_block(tmp_path: Path) -> None:
    long = "many words, " * 600_000
    (tmp_path / "a.csv").write_text(f'n,body\n1,short\n2,"{long}"\n3,"a ""b""\nc"\n')
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in ("short", long)))
    assert open_source([tmp_path / "a.csv"]).read().table.column("body").to_pylist() == ["short", long, 'a "b"\nc']
    assert open_source([tmp_path / "a.jsonl"]).read().table.column("body").to_pylist() == ["short", long]
