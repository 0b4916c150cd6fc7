"""Where arrays live: memory and files hold the same, files leave nothing behind, and a full disk is one line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from torchlogit.data.encoded_rows import EncodedRows, StoredRows
from torchlogit.errors import InputError
from torchlogit.storage import NamedArrays, SavedArrays, Storage, TemporaryArrays


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small file system can be mounted here: it takes root's rights")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def write(arrays: NamedArrays, sparse: bool, weighted: bool) -> StoredRows:
    random = np.random.default_rng(0)
    writer = StoredRows(arrays, "train", width=5, sparse=sparse, weighted=weighted)
    for n in (3, 0, 1, 1000):
        values = (random.normal(size=(n, 5)) * (random.random((n, 5)) < 0.5)).astype(np.float32)
        features = scipy.sparse.csr_array(values) if sparse else values
        writer.append(EncodedRows(features, random.integers(0, 3, n), random.random(n) if weighted else None))
    return writer


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_rows_are_the_same_wherever_they_live(sparse: bool, weighted: bool, tmp_path: Path) -> None:
    expected = write(TemporaryArrays(tmp_path, 10**9), sparse, weighted).rows()
    saved = SavedArrays(tmp_path)
    found = [write(saved, sparse, weighted).rows()]
    for max_bytes in (0, 100, 5000, 10**9):  # moved at once, in the middle, or never
        arrays = TemporaryArrays(tmp_path, max_bytes)
        found.append(write(arrays, sparse, weighted).rows())
        assert arrays.spilled == (max_bytes < 10**9)
    again = SavedArrays.opened(tmp_path, saved.sizes())
    found.append(StoredRows(again, "train", width=5, sparse=sparse, weighted=weighted).rows())
    for rows in found:
        assert len(rows) == len(expected) == 1004
        difference = rows.features - expected.features
        assert not (difference.nnz if sparse else difference.any())
        assert np.array_equal(rows.codes, expected.codes)
        assert np.array_equal(rows.weight, expected.weight) if weighted else rows.weight is None


def test_files_without_names_are_gone_with_their_arrays(tmp_path: Path) -> None:
    rows = write(TemporaryArrays(tmp_path, 0), sparse=True, weighted=True).rows()
    array = Storage(tmp_path).empty((1000, 3), np.float64)
    array[:] = 1
    assert array.sum() == 3000
    assert rows.features.nnz
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fault", ["missing", "shorter"])
def test_what_is_kept_is_not_taken_for_whole(fault: str, tmp_path: Path) -> None:
    saved = SavedArrays(tmp_path)
    write(saved, sparse=False, weighted=False)
    sizes = saved.sizes()
    if fault == "missing":
        (tmp_path / "rows-train-values").unlink()
    else:
        os.truncate(tmp_path / "rows-train-values", 8)
    with pytest.raises(LookupError, match="rows-train-values is missing or has another size"):
        SavedArrays.opened(tmp_path, sizes)


def test_a_full_disk_is_said_before_anything_is_lost(small_disk: Path) -> None:
    with pytest.raises(InputError, match="the disk is full; free some space, or choose another folder"):
        Storage(small_disk).empty((1 << 18,), np.float64)
    arrays = TemporaryArrays(small_disk, 0)
    with pytest.raises(InputError, match="the disk is full"):
        arrays.append("x", np.zeros(1 << 18))
    del arrays
    assert Storage(small_disk).empty((4,), np.float64).shape == (4,), "what did not fit takes no room"


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write there"):
        Storage(tmp_path / "absent").empty((3,), np.float32)
    for arrays in (TemporaryArrays(tmp_path / "absent", 0), SavedArrays(tmp_path / "absent")):
        with pytest.raises(InputError, match="cannot write there"):
            arrays.append("x", np.zeros(3))
