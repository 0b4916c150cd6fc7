"""svmlight files: read as scikit-learn's reader does, to the bit, and refused with file, line and place."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_svmlight_file

from profiles import examples
from torchlogit import load_svmlight
from torchlogit.data.reading import svmlight
from torchlogit.data.reading.source import open_source
from torchlogit.errors import DataError, InputError, TorchlogitWarning

PLAIN = b"+1 1:0.5 3:2\n-1 2:-1e-3\n"
VALUES = [[0.5, 0, 2], [0, -1e-3, 0]]


def write(folder: Path, content: bytes | str, name: str = "a.svm") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(PLAIN[:13]) + gzip.compress(PLAIN[13:]),
        PLAIN.rstrip(),
        PLAIN.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + PLAIN,
        b"# a file\n\n  \n+1  1:0.5\t3:2 # one: 1:1\n\n-1 2:-1e-3 \n# end",
        b"1.0 3:2 1:.5\n-1e0 2:-.001e+0\n",
        b"1 1:5e-1 3:2.\n-1 2:-0.0010000000000000000000\n",
    ],
    ids=["plain", "gzip", "two gzips", "no last line end", "CRLF", "UTF-8", "comments", "unsorted", "spellings"],
)
def test_a_file_however_written(tmp_path: Path, content: bytes) -> None:
    X, y = load_svmlight(write(tmp_path, content, "data"), dtype=np.float64)
    assert X.toarray().tolist() == VALUES
    assert y.tolist() == [1, -1]
    assert X.has_sorted_indices
    assert (X.data.dtype, X.indices.dtype) == (np.float64, np.int32)


def test_values_are_float32_unless_asked_for(tmp_path: Path) -> None:
    X, y = load_svmlight(write(tmp_path, PLAIN))
    assert X.dtype == np.float32
    assert y.dtype == np.float64
    with pytest.raises(InputError, match=r"^dtype=<class 'int'>: expected numpy.float32 or numpy.float64$"):
        load_svmlight(write(tmp_path, PLAIN), dtype=int)  # type: ignore[arg-type]


def test_indices_start_where_they_do_or_where_they_are_said_to(tmp_path: Path) -> None:
    from_one, from_zero = write(tmp_path, "1 1:1 2:2\n", "one"), write(tmp_path, "1 0:1 2:2\n", "zero")
    assert load_svmlight(from_one)[0].toarray().tolist() == [[1, 2]]
    assert load_svmlight(from_one, zero_based=True)[0].toarray().tolist() == [[0, 1, 2]]
    assert load_svmlight(from_zero)[0].toarray().tolist() == [[1, 0, 2]]
    assert load_svmlight(from_one, n_features=4)[0].shape == (1, 4)
    with pytest.raises(DataError, match=r"^zero holds index 0, where indices from 1 were expected \(zero_based=False"):
        load_svmlight(from_zero, zero_based=False)
    with pytest.raises(DataError, match=r"^one holds index 2, and n_features=1 ends at 1; give a larger n_features$"):
        load_svmlight(from_one, n_features=1)


def test_rows_without_entries_are_rows(tmp_path: Path) -> None:
    X, y = load_svmlight(write(tmp_path, "1\n0 # nothing\n1 2:0\n"))
    assert X.toarray().tolist() == [[0, 0], [0, 0], [0, 0]]
    assert y.tolist() == [1, 0, 1]
    assert load_svmlight(write(tmp_path, "1\n-1\n"))[0].shape == (2, 0)


def test_qid_is_ignored_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(TorchlogitWarning, match=r"^a\.svm: qid is ignored") as caught:
        X, _ = load_svmlight(write(tmp_path, "3 qid:1 1:0.5 #x\n1 qid:2\n"))
    assert X.toarray().tolist() == [[0.5], [0]]
    assert caught[0].filename == __file__
    source = open_source([tmp_path / "a.svm"])
    source.read()
    (warning,) = source.warnings
    assert warning.startswith("a.svm: qid is ignored")


FAULTS = {
    "label": ("1 1:1\n# x\nyes 1:1\n", "line 3 place 1 holds 'yes': expected the label, a number"),
    "label runs on": ("1x 1:1\n", "line 1 place 1 holds '1x': expected the label, a number"),
    "nan label": ("nan 1:1\n", "line 1 place 1 holds 'nan': expected the label, a number"),
    "no label": ("1 1:1\n\n 1:1 2:1\n", "line 3 place 2 holds '1:1': expected the label first, and found an index and "
                 "a value; put a label before them"),
    "labels": ("1,2 1:1\n", "line 1 place 1 holds '1,2': expected one label, and found several; leave one, or train "
               "one model for each"),
    "word": ("1 1:1 abc\n", "line 1 place 7 holds 'abc': expected an index, a whole number from 0, and a value, "
             "such as 7:0.5"),
    "index only": ("1 7\n", "line 1 place 3 holds '7': expected an index, a whole number from 0, and a value, "
                   "such as 7:0.5"),
    "negative index": ("1 -7:1\n", "line 1 place 3 holds '-7:1': expected an index, a whole number from 0, and a "
                       "value, such as 7:0.5"),
    "large index": ("1 2147483648:1\n", "line 1 place 3 holds '2147483648:1': expected an index of at most 2147483647; "
                    "renumber the features"),
    "huge index": (f"1 {10**30}:1\n", f"line 1 place 3 holds '{10**30}:1': expected an index of at most 2147483647; "
                   "renumber the features"),
    "no value": ("1 7: 8:1\n", "line 1 place 5 holds '8:1': expected a finite number as the value"),
    "inf": ("1 2:1\n1 7:inf\n", "line 2 place 5 holds 'inf': expected a finite number as the value"),
    "nan": ("1 7:NaN\n", "line 1 place 5 holds 'NaN': expected a finite number as the value"),
    "value runs on": ("1 7:1e5.5\n", "line 1 place 5 holds '1e5.5': expected a finite number as the value"),
    "no exponent": ("1 7:1e\n", "line 1 place 5 holds '1e': expected a finite number as the value"),
    "not ASCII": ("1 7:½\n", "line 1 place 5 holds '½': expected a finite number as the value"),
    "twice": ("1 1:1\n\n1 3:1 2:1 3:1\n", "line 3 has index 3 twice; add the values up, or leave one out"),
    "too large": ("1 1:1\n1 3:1e39\n", "line 2 holds a value at index 3 that is too large for float32; correct it"),
    "label too large": ("1e999 1:1\n", "line 1 has a label beyond float64; expected a finite number: correct it"),
    "no rows": ("# nothing\n\n", "has no rows; give a file with lines such as '+1 3:0.5 7:1'"),
    "empty": ("", "has no rows; give a file with lines such as '+1 3:0.5 7:1'"),
}  # fmt: skip


@pytest.mark.parametrize("chunk_bytes", [svmlight.READ_BYTES, 4])
@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_read_is_refused_with_its_place(
    name: str, chunk_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(svmlight, "READ_BYTES", chunk_bytes)
    content, message = FAULTS[name]
    path = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        load_svmlight(path)
    assert str(error.value) == f"a.svm {message}"


def test_a_file_that_is_absent_or_cut_short_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.svm cannot be read: No such file or directory$"):
        load_svmlight(tmp_path / "none.svm")
    with pytest.raises(DataError, match=r"^a\.svm is not a whole gzip file; compress it or fetch it again$"):
        load_svmlight(write(tmp_path, gzip.compress(PLAIN * 100)[:-20]))


# Numbers

WHOLE = st.integers(0, 10**21)
DECIMALS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False).map("{:.17e}".format),
    st.floats(-1, 1).map("{:.6f}".format),
    st.builds("{}.{}".format, WHOLE, WHOLE),
    st.builds("{}e{}".format, WHOLE, st.integers(-345, 280)),
    st.builds(".{}E-{}".format, WHOLE, st.integers(0, 330)),
)


@examples(300)
@given(st.lists(DECIMALS, min_size=1, max_size=20))
def test_every_decimal_is_rounded_as_python_rounds_it(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[str]
) -> None:
    path = write(tmp_path_factory.mktemp("svm"), "".join(f"{number} 1:{number}\n" for number in numbers))
    X, y = load_svmlight(path, dtype=np.float64)
    expected = [float(number) for number in numbers]
    np.testing.assert_array_equal(X.toarray()[:, 0], expected)
    np.testing.assert_array_equal(y, expected)


HALFWAY = ["9007199254740993", "9007199254740993e0", "1.00000000000000011102230246251565", "2.2250738585072011e-308",
           "4.9e-324", "2e-324", "1.7976931348623157e308", "0e999", "-0", "123456789012345678901234567890"]  # fmt: skip


def test_hard_decimals(tmp_path: Path) -> None:
    X, _ = load_svmlight(write(tmp_path, "".join(f"1 1:{number}\n" for number in HALFWAY)), dtype=np.float64)
    np.testing.assert_array_equal(X.toarray()[:, 0], [float(number) for number in HALFWAY])


# Whole files

ROWS = st.lists(
    st.tuples(
        st.sampled_from([-1.0, 0.0, 1.0, 2.5]),
        st.dictionaries(st.integers(0, 30), st.floats(-1e6, 1e6, width=32), max_size=6),
    ),
    min_size=1,
    max_size=12,
).filter(lambda rows: any(entries for _, entries in rows))


@given(ROWS, st.sampled_from([0, 1]), st.sampled_from([16, 1 << 20]))
def test_a_file_reads_as_scikit_learn_reads_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, dict[int, float]]], first: int, chunk: int
) -> None:
    lines = [
        f"{target} " + " ".join(f"{index + first}:{value!r}" for index, value in sorted(entries.items()))
        for target, entries in rows
    ]
    path = write(tmp_path_factory.mktemp("svm"), "\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svmlight, "READ_BYTES", chunk)
        X, y = load_svmlight(path, zero_based=first == 0)
    expected, targets = load_svmlight_file(str(path), dtype=np.float32, zero_based=first == 0)
    np.testing.assert_array_equal(y, targets)
    assert X.shape == expected.shape
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(X, part), getattr(expected, part))


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_within_a_row_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, dict[int, float]]], random: object
) -> None:
    def lines(order: object) -> str:
        return "\n".join(
            f"{target} " + " ".join(f"{index}:{value!r}" for index, value in order(entries.items()))  # type: ignore[operator]
            for target, entries in rows
        )

    folder = tmp_path_factory.mktemp("svm")
    X, _ = load_svmlight(write(folder, lines(sorted), "sorted"))
    mixed, _ = load_svmlight(write(folder, lines(lambda items: random.sample(list(items), len(items))), "mixed"))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(mixed.toarray(), X.toarray())
    np.testing.assert_array_equal(mixed.indices, X.indices)


# As a table


def test_a_svmlight_file_is_a_table_of_a_label_and_vectors(tmp_path: Path) -> None:
    loaded = open_source([write(tmp_path, PLAIN), write(tmp_path, gzip.compress(b"2.5 1:1\n"), "b.libsvm.gz")]).read()
    assert loaded.table.column("label").to_pylist() == [1, -1, 2.5]
    assert loaded.table.column("f").to_pylist()[:2] == [
        [{"index": 1, "value": 0.5}, {"index": 3, "value": 2}],
        [{"index": 2, "value": np.float32(-1e-3)}],
    ]
    assert loaded.location(2) == ("b.libsvm.gz", 0)
    with pytest.raises(DataError, match=r"^a\.svm: the features of svmlight files have numbers; leave the names out$"):
        open_source([tmp_path / "a.svm"], names=["a", "b"]).read()
