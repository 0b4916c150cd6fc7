"""Texts as words in tf-idf, by scikit-learn's vectorisers; what they learned is kept as counts.

A word is two letters or digits and more, in lower case. A text that holds a word t times has (1 + ln t) idf for it,
idf = 1 + ln((1 + n_texts) / (1 + count)), and all is divided by its Euclidean norm. A missing text is an empty one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_array, csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.preprocessing import normalize

from torchlogit.data.columns import is_text
from torchlogit.data.features import Features
from torchlogit.errors import DataError
from torchlogit.records import HashedTextColumn, TextColumn


def learn_text(name: str, column: pa.ChunkedArray) -> TextColumn:
    """The words of a column of texts, and how many texts hold each."""
    vectorizer, texts = CountVectorizer(dtype=np.float32), _texts(name, column)
    try:
        counted = vectorizer.fit_transform(texts)
    except ValueError:  # an empty vocabulary
        raise DataError(f"column {name!r} holds no words to learn from; leave it out of text", column=name) from None
    return TextColumn(name, tuple(vectorizer.get_feature_names_out().tolist()), *_statistics(counted))


def learn_hashed_text(name: str, column: pa.ChunkedArray, bits: int) -> HashedTextColumn:
    """How many texts hold a word at each of the 2^bits places."""
    return HashedTextColumn(name, *_statistics(_hashing(2**bits).transform(_texts(name, column))))


def encode_text(column: TextColumn, values: pa.ChunkedArray, out: Features) -> tuple[str, ...]:
    """Adds the tf-idf of each text's words; words that training has not seen are left out."""
    vectorizer = CountVectorizer(vocabulary=column.words, dtype=np.float32)
    out.add(_tf_idf(column, vectorizer.transform(_texts(column.name, values))))
    return ()


def encode_hashed_text(column: HashedTextColumn, values: pa.ChunkedArray, out: Features) -> tuple[str, ...]:
    """Adds the tf-idf of each text's words at their places."""
    out.add(_tf_idf(column, _hashing(len(column.counts)).transform(_texts(column.name, values))))
    return ()


def _hashing(n_features: int) -> HashingVectorizer:
    return HashingVectorizer(n_features=n_features, alternate_sign=False, norm=None, dtype=np.float32)


def _texts(name: str, column: pa.ChunkedArray) -> list[str]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (is_text(kind) or pa.types.is_null(kind)):
        raise DataError(f"column {name!r} holds values of type {kind}, where texts were expected", column=name)
    return [text or "" for text in column.to_pylist()]


def _statistics(counted: csr_matrix) -> tuple[tuple[int, ...], int, float]:
    """How many texts hold each word, how many texts there are, and how many words a text holds."""
    counts = np.bincount(counted.indices, minlength=counted.shape[1])
    return tuple(counts.tolist()), counted.shape[0], counted.nnz / counted.shape[0]


def _tf_idf(column: TextColumn | HashedTextColumn, counted: Any) -> csr_array:
    idf = 1 + np.log((1 + column.n_texts) / (1 + np.array(column.counts)))
    counted.sort_indices()
    counted.data = ((1 + np.log(counted.data)) * idf[counted.indices]).astype(np.float32)
    return csr_array(normalize(counted, copy=False))
