"""The hashes of texts, compared with scikit-learn's."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from torchlogit.kernels.hashes import hashes_32


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=9), st.integers(0, 3))
def test_hashes_are_scikit_learns(texts: list[str], start: int) -> None:
    found = hashes_32(pa.array(texts, pa.string()).slice(min(start, len(texts))))
    assert found.tolist() == [murmurhash3_32(text.encode(), seed=0) for text in texts[start:]]
