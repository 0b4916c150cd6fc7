"""What LogisticRegression may be handed: each kind of input gives the bits that the array gives."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.datasets import dump_svmlight_file
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset, random_split

import torchlogit
from classification import coefficients, rows
from torchlogit import InputError, LogisticRegression, Status, TorchlogitWarning

NAMES = ["a", "b", "c"]
X, Y = rows(3)
TABLE = pa.table({**{name: X[:, j] for j, name in enumerate(NAMES)}, "y": np.array(["no", "so", "yes"])[Y]})
EXPECTED = LogisticRegression().fit(X, np.array(["no", "so", "yes"])[Y])
ONE_AT_A_TIME = r"^\w+ gives its rows one at a time, which takes longer than the fit: a TensorDataset, or a method "


class OneByOne(Dataset):  # type: ignore[type-arg]
    """Rows that can only be had one at a time."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(X[row]), int(Y[row])


class InBlocks(OneByOne):
    """Rows that can be had together, as tensors, or as torch's own loaders want them, a list of rows."""

    def __init__(self, as_list: bool) -> None:
        self.as_list, self.asked = as_list, 0

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        raise AssertionError("one row was asked for")

    def __getitems__(self, asked: list[int]) -> Any:
        self.asked += 1
        if self.as_list:
            return [(torch.from_numpy(X[row]), int(Y[row])) for row in asked]
        return torch.from_numpy(X[asked]), torch.from_numpy(Y[asked])


class Streamed(IterableDataset):  # type: ignore[type-arg]
    """Rows in order, how many is not known."""

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        return ((torch.from_numpy(x), int(y)) for x, y in zip(X, Y, strict=True))


class HuggingFace:
    """What torchlogit uses of a Hugging Face data set."""

    def __init__(self, table: pa.Table, format: str = "python") -> None:
        self.table, self.format, self.column_names = table, format, table.column_names

    def with_format(self, format: str) -> HuggingFace:
        return HuggingFace(self.table, format)

    def __getitem__(self, asked: slice) -> Any:
        assert self.format == "arrow"
        return self.table.slice(*asked.indices(len(self.table))[:2])


def files(folder: Path) -> dict[str, Path]:
    import pyarrow.csv
    import pyarrow.parquet

    pyarrow.csv.write_csv(TABLE, folder / "t.csv")
    pyarrow.parquet.write_table(TABLE, folder / "t.parquet")
    return {"csv": folder / "t.csv", "parquet": folder / "t.parquet"}


# Tables

TABLES: dict[str, Callable[[pa.Table], Any]] = {
    "pandas": lambda table: table.to_pandas(),
    "polars": pl.from_arrow,
    "Arrow": lambda table: table,
    "Arrow batch": lambda table: table.to_batches()[0],
    "Hugging Face": HuggingFace,
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_of_numbers_gives_what_the_array_gives(kind: str) -> None:
    made = TABLES[kind]
    features, y = made(TABLE.drop_columns(["y"])), TABLE["y"]
    for model in (LogisticRegression().fit(features, y), LogisticRegression().fit(made(TABLE), "y")):
        assert np.array_equal(coefficients(model), coefficients(EXPECTED))
        assert model.classes_.tolist() == ["no", "so", "yes"]
        assert model.feature_names_in_.tolist() == NAMES
        assert type(model.predict_proba(features)) is np.ndarray
        assert np.array_equal(model.predict_proba(features), EXPECTED.predict_proba(X))
        assert model.score(made(TABLE), "y") == model.score(features, y) == EXPECTED.score(X, EXPECTED.classes_[Y])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("as_text", [False, True])
def test_a_file_gives_what_its_table_gives(kind: str, as_text: bool, tmp_path: Path) -> None:
    path: Any = files(tmp_path)[kind]
    path = str(path) if as_text else path
    model = LogisticRegression().fit(path, "y")
    assert np.array_equal(coefficients(model), coefficients(EXPECTED))
    assert model.feature_names_in_.tolist() == NAMES
    assert np.array_equal(model.predict_proba(path), EXPECTED.predict_proba(X))
    assert model.score(path, "y") == EXPECTED.score(X, EXPECTED.classes_[Y])
    pa.csv.write_csv(TABLE.select(["c", "y", "a", "b"]), tmp_path / "other.csv")
    assert np.array_equal(model.predict_proba(tmp_path / "other.csv"), EXPECTED.predict_proba(X))


def test_a_svmlight_file_keeps_its_feature_numbers(tmp_path: Path) -> None:
    table = np.round(X, 3) * (np.random.default_rng(0).random(X.shape) < 0.8)
    dump_svmlight_file(table, Y, str(tmp_path / "zero.svm"), zero_based=True)
    model = LogisticRegression().fit(tmp_path / "zero.svm")
    assert model.feature_names_in_.tolist() == ["f0", "f1", "f2"]
    expected = LogisticRegression().fit(table.astype(np.float32), Y)
    np.testing.assert_allclose(coefficients(model), coefficients(expected), atol=1e-6)
    few = table[:20].copy()
    few[:, [0, 2]] = 0  # neither the first nor the last feature occurs
    dump_svmlight_file(few, Y[:20], str(tmp_path / "few.svm"), zero_based=True)
    np.testing.assert_allclose(model.predict_proba(tmp_path / "few.svm"), expected.predict_proba(few), atol=1e-6)
    assert model.score(tmp_path / "zero.svm") == expected.score(table, Y)


def test_a_file_with_text_is_loaded_for_a_pipeline(tmp_path: Path) -> None:
    people = pa.table({"age": [20, 30, 40, 50] * 5, "job": ["clerk", "cook"] * 10, "y": [0, 1, 1, 0] * 5})
    pa.csv.write_csv(people, tmp_path / "people.csv")
    X, y = torchlogit.load_table(tmp_path / "people.csv", "y")
    assert (X.column_names, y.dtype.kind, y.tolist()) == (["age", "job"], "i", [0, 1, 1, 0] * 5)
    message = (
        r"^column 'job' holds text: LogisticRegression takes tables of numbers and booleans; put TableEncoder\(\) in "
    )
    with pytest.raises(InputError, match=message):
        LogisticRegression().fit(tmp_path / "people.csv", "y")
    encoder = torchlogit.TableEncoder()
    assert encoder.fit_transform(X).shape == (20, 3)
    assert np.array_equal(encoder.fit_transform(X), encoder.fit_transform(tmp_path / "people.csv")[:, [0, 1, 2]])


def test_probabilities_in_a_column_are_targets() -> None:
    share = np.clip(X[:, 0] * 0.1 + 0.5, 0, 1)
    table = pa.table({"a": X[:, 1], "share": share})
    assert np.array_equal(
        LogisticRegression().fit(table, "share").coef_, LogisticRegression().fit(X[:, [1]], share).coef_
    )


def test_whole_numbers_truths_and_float32_are_numbers() -> None:
    table = pl.DataFrame({"n": [1, 2, 3, 4] * 5, "t": [True, False, False, True] * 5}, schema_overrides={"n": pl.UInt8})
    y = [0, 1, 1, 0, 1] * 4
    model = LogisticRegression().fit(table, y)
    assert np.array_equal(model.coef_, LogisticRegression().fit(table.to_numpy().astype(float), y).coef_)
    single = pl.DataFrame(X.astype(np.float32), schema=NAMES)
    assert np.array_equal(
        LogisticRegression().fit(single, Y).coef_, LogisticRegression().fit(X.astype(np.float32), Y).coef_
    )
    nullable = pd.DataFrame(
        {"n": pd.array([1, 2, 3, 4] * 5, dtype="Int64"), "o": pd.Series([1.0, 2.5] * 10, dtype=object)}
    )
    assert LogisticRegression().fit(nullable, y).n_features_in_ == 2


@pytest.mark.parametrize("made", [pa.table, pl.DataFrame])
def test_a_column_of_vectors_is_so_many_features(made: Any) -> None:
    table = made({"v": X.tolist(), "y": Y})
    model = LogisticRegression().fit(table, "y")
    assert model.feature_names_in_.tolist() == ["v0", "v1", "v2"]
    assert np.array_equal(model.coef_, LogisticRegression().fit(X, Y).coef_)
    with pytest.raises(InputError, match=r"^column 'v' holds .*, not all equally long: "):
        LogisticRegression().fit(made({"v": [[1.0], [1.0, 2.0]]}), [0, 1])


UNFIT: dict[str, tuple[Callable[[], Any], str]] = {
    "polars text": (lambda: pl.DataFrame({"j": ["x"] * 20}), r"^column 'j' holds string\w*: LogisticRegression takes"),
    "pandas text": (lambda: pd.DataFrame({"j": ["x"] * 20}), r"^column 'j' holds str: LogisticRegression takes"),
    "objects": (lambda: pd.DataFrame({"j": [1, "x"] * 10}), r"^column 'j' holds object: .* put TableEncoder\(\) in"),
    "category": (lambda: pd.DataFrame({"j": pd.Categorical(["x"] * 20)}), r"^column 'j' holds category: "),
    "dates": (lambda: pd.DataFrame({"j": pd.date_range("2020", periods=20)}), r"^column 'j' holds datetime64\S+: "),
    "Arrow dates": (lambda: pa.table({"j": pa.array([0] * 20, pa.date32())}), r"^column 'j' holds date32"),
    "missing": (lambda: pa.table({"j": [1.0, None] * 10}), r"^Input X contains NaN\."),
    "no columns": (lambda: pa.table({"y": [0, 1] * 10}), r"^no column is left to learn from; give a table with"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_tables_that_are_not_of_numbers_are_refused_in_a_sentence(name: str) -> None:
    made, message = UNFIT[name]
    with pytest.raises(ValueError, match=message) as caught:
        LogisticRegression().fit(made(), "y" if name == "no columns" else [0, 1] * 10)
    assert name == "missing" or "\n" not in str(caught.value)


def test_columns_are_looked_for_by_name_and_missed_by_name(tmp_path: Path) -> None:
    model = LogisticRegression().fit(TABLE, "y")
    with pytest.raises(
        InputError, match=r"^X has the columns 'b', 'a', 'c'; expected those of the fit, in their order: 'a'"
    ):
        model.predict(TABLE.select(["b", "a", "c"]))
    with pytest.raises(InputError, match=r"^there is no .*column 'why'; "):
        LogisticRegression().fit(TABLE, "why")
    pa.csv.write_csv(TABLE.drop_columns(["b"]), tmp_path / "less.csv")
    with pytest.raises(InputError, match=r"^there is no column 'b'; "):
        model.predict(tmp_path / "less.csv")
    with pytest.raises(
        InputError, match=r"less.csv: the target is not given; expected the name of its column, one of 'a'"
    ):
        LogisticRegression().fit(tmp_path / "less.csv")
    with pytest.raises(InputError, match=r"does not exist; check the path$"):
        LogisticRegression().fit("nowhere.csv", "y")
    with pytest.raises(InputError, match=r"^X has the columns 'a', 'c'; expected 3 columns$"):
        EXPECTED.predict(pl.DataFrame({"a": [1.0], "c": [2.0]}))


def test_a_fault_in_a_file_is_told_with_its_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,no\n2,\n3,yes\n")
    with pytest.raises(InputError, match=r"^t\.csv row 2: target 'y' is missing in 1 of 3 rows; "):
        LogisticRegression().fit(tmp_path / "t.csv", "y")


# Tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_are_answered_with_tensors(dtype: torch.dtype) -> None:
    tensor, array = torch.from_numpy(X).to(dtype), X.astype(str(dtype).removeprefix("torch."))
    model, plain = LogisticRegression().fit(tensor, torch.from_numpy(Y)), LogisticRegression().fit(array, Y)
    assert np.array_equal(coefficients(model), coefficients(plain))
    for name in ("predict_proba", "predict_log_proba", "decision_function"):
        answer = getattr(model, name)(tensor)
        assert (type(answer), answer.dtype, answer.device) == (torch.Tensor, dtype, tensor.device)
        np.testing.assert_array_equal(answer.numpy(), getattr(plain, name)(array).astype(array.dtype))
    predicted = model.predict(tensor)
    assert predicted.dtype == torch.int64
    assert predicted.tolist() == plain.predict(array).tolist()
    assert model.score(tensor, torch.from_numpy(Y)) == plain.score(array, Y)
    assert type(model.predict_proba(X)) is np.ndarray


def test_labels_that_are_no_numbers_come_as_an_array() -> None:
    predicted = EXPECTED.predict(torch.from_numpy(X))
    assert type(predicted) is np.ndarray
    assert set(predicted) == {"no", "so", "yes"}


def test_tensors_of_other_kinds() -> None:
    tensor = torch.from_numpy(X).float()
    grown = tensor.clone().requires_grad_()
    assert np.array_equal(LogisticRegression().fit(grown, Y).coef_, LogisticRegression().fit(tensor, Y).coef_)
    half = LogisticRegression().fit(tensor.bfloat16(), Y).predict_proba(tensor.bfloat16())
    assert half.dtype == torch.bfloat16
    whole = (10 * tensor).long()
    assert LogisticRegression().fit(whole, Y).predict_proba(whole).dtype == torch.float64
    column = torch.from_numpy((Y > 0).astype(np.float32))[:, None]
    assert np.array_equal(LogisticRegression().fit(X, column).coef_, LogisticRegression().fit(X, Y > 0).coef_)


def test_a_sparse_tensor_is_answered_with_a_tensor() -> None:
    sparse = torch.from_numpy(X * (X > 0)).to_sparse()
    model = LogisticRegression().fit(sparse, Y)
    assert type(model.predict_proba(sparse)) is torch.Tensor


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_tensors_on_a_gpu_stay_there() -> None:
    tensor = torch.from_numpy(X).cuda()
    model = LogisticRegression().fit(tensor, torch.from_numpy(Y).cuda(), eval_set=(tensor, torch.from_numpy(Y).cuda()))
    assert model.certificate_.status is Status.CERTIFIED
    np.testing.assert_allclose(coefficients(model), coefficients(LogisticRegression().fit(X, Y)), atol=1e-5)
    assert model.predict_proba(tensor).device == model.predict(tensor).device == tensor.device
    assert model.score(tensor, torch.from_numpy(Y).cuda()) > 0.5


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (4, 0)])
def test_tensors_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"rray|eature|dimension"):
        LogisticRegression().fit(torch.zeros(shape), torch.arange(shape[0]))


# Data sets and loaders

T, TY = torch.from_numpy(X), torch.from_numpy(Y)
WHOLE: dict[str, Callable[[], Any]] = {
    "tensors": lambda: TensorDataset(T, TY),
    "part": lambda: Subset(TensorDataset(torch.cat([T + 1, T]), torch.cat([TY, TY])), range(len(T), 2 * len(T))),
    "several": lambda: ConcatDataset([TensorDataset(T[:50], TY[:50]), TensorDataset(T[50:], TY[50:])]),
    "blocks of rows": lambda: InBlocks(as_list=True),
    "blocks of tensors": lambda: InBlocks(as_list=False),
    "part of blocks": lambda: Subset(InBlocks(as_list=True), range(len(T))),
    "loader": lambda: DataLoader(TensorDataset(T, TY), batch_size=16),
    "loader that shuffles": lambda: DataLoader(TensorDataset(T, TY), batch_size=16, shuffle=True),
    "loader of blocks": lambda: DataLoader(InBlocks(as_list=True), batch_size=16),
}
SLOW: dict[str, Callable[[], Any]] = {
    "rows": OneByOne,
    "part of rows": lambda: Subset(OneByOne(), range(len(T))),
    "stream": Streamed,
    "loader of rows": lambda: DataLoader(OneByOne(), batch_size=16),
    "loader of a stream": lambda: DataLoader(Streamed(), batch_size=16),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_data_set_is_read_in_whole_blocks(kind: str) -> None:
    data = WHOLE[kind]()
    model = LogisticRegression().fit(data)
    assert np.array_equal(coefficients(model), coefficients(LogisticRegression().fit(X, Y)))
    assert type(model.predict_proba(data)) is torch.Tensor
    assert np.array_equal(model.predict_proba(data), EXPECTED.predict_proba(X))
    assert model.score(data) == EXPECTED.score(X, EXPECTED.classes_[Y])
    if isinstance(data, InBlocks):
        assert data.asked == 4


@pytest.mark.parametrize("kind", SLOW)
def test_it_is_told_where_rows_come_one_at_a_time(kind: str) -> None:
    with pytest.warns(TorchlogitWarning, match=ONE_AT_A_TIME):
        model = LogisticRegression().fit(SLOW[kind]())
    assert np.array_equal(coefficients(model), coefficients(LogisticRegression().fit(X, Y)))


def test_a_loader_that_does_more_than_batch_is_gone_through() -> None:
    def doubled(batch: list[Any]) -> Any:
        return torch.stack([2 * x for x, _ in batch]), torch.stack([y for _, y in batch])

    loader = DataLoader(TensorDataset(T, TY), batch_size=16, collate_fn=doubled)
    assert np.array_equal(LogisticRegression().fit(loader).coef_, LogisticRegression().fit(2 * X, Y).coef_)
    some = DataLoader(TensorDataset(T, TY), batch_size=16, sampler=range(60))
    assert np.array_equal(LogisticRegression().fit(some).coef_, LogisticRegression().fit(X[:60], Y[:60]).coef_)


def test_a_split_of_a_data_set_trains_and_validates() -> None:
    train, other = random_split(TensorDataset(T, TY), [90, 30], generator=torch.Generator().manual_seed(0))
    model = LogisticRegression().fit(train, eval_set=(other, None))
    assert len(model.eval_history_) == len(model.history_)
    assert model.predict_proba(other).shape == (30, 3)


def test_features_alone_may_come_with_a_target_of_their_own() -> None:
    model = LogisticRegression().fit(TensorDataset(T), Y)
    assert np.array_equal(model.coef_, LogisticRegression().fit(X, Y).coef_)
    with pytest.raises(
        InputError, match=r"^the rows of the data set have 1 parts; expected two, x and y, or y on its own$"
    ):
        LogisticRegression().fit(TensorDataset(T))


def test_data_sets_that_hold_no_rows_of_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"^the TensorDataset has no rows; give one with rows$"):
        LogisticRegression().fit(TensorDataset(T[:0], TY[:0]))

    class Named(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 3

        def __getitems__(self, asked: list[int]) -> list[dict[str, float]]:
            return [{"a": 1.0, "y": 0.0} for _ in asked]

    with pytest.raises(InputError, match=r"^the data set gives dict; expected tensors, or pairs of x and y$"):
        LogisticRegression().fit(Named())


# Weights, offsets and the rest, of any kind


@pytest.mark.parametrize("made", [torch.from_numpy, pa.array, pl.Series, pd.Series, list])
def test_weights_and_offsets_of_any_kind(made: Callable[[NDArray[Any]], Any]) -> None:
    y, weight, offset = (Y > 0).astype(int), np.linspace(0, 2, len(X)), np.linspace(-1, 1, len(X))
    expected = LogisticRegression().fit(X, y, sample_weight=weight, offset=offset)
    model = LogisticRegression().fit(X, made(y), sample_weight=made(weight), offset=made(offset))
    assert np.array_equal(coefficients(model), coefficients(expected))
    assert model.score(X, made(y), sample_weight=made(weight)) == expected.score(X, y, sample_weight=weight)


def test_nothing_is_imported_that_the_user_has_not() -> None:
    """Where they cannot be imported, as where they are not installed, arrays and tensors do without them."""
    code = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('pandas', 'polars', 'datasets', 'duckdb', 'matplotlib'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import numpy as np, torch, torchlogit\n"
        "X, y = np.arange(8.0)[:, None], [0, 1] * 4\n"
        "torchlogit.LogisticRegression().fit(X, y).predict(torch.from_numpy(X))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wide_sparse_rows_of_a_data_frame_library_stay_what_they_are() -> None:
    sparse = scipy.sparse.random_array((120, 400), density=0.02, rng=np.random.default_rng(0), format="csr")
    frame = pd.DataFrame.sparse.from_spmatrix(sparse)
    assert np.array_equal(LogisticRegression().fit(frame, Y).coef_, LogisticRegression().fit(sparse, Y).coef_)
