"""predict and evaluate over blocks: the same bytes however rows are read, few of them held, faults with their place."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from commands import torchlogit
from places import DATA, ROOT
from torchlogit.cli import evaluate, options, predict
from torchlogit.cli import measuring as measuring
from torchlogit.cli.measuring import measure
from torchlogit.data.block import BLOCK_ROWS, Block, FileRows, recut
from torchlogit.data.concurrency import prefetched
from torchlogit.data.encoded_rows import EncodedRows
from torchlogit.data.labels import check_labels
from torchlogit.data.reading.source import open_source
from torchlogit.errors import DataError
from torchlogit.model import LogisticModel, load

ADULT = ROOT / "examples" / "adult"
A9A = DATA / "libsvm"
N = 400


def people(n: int = N, seed: int = 0) -> pa.Table:
    """Numbers, some missing, categories, classes and weights."""
    rng = np.random.default_rng(seed)
    age, job = rng.integers(18, 80, n), rng.choice(["clerk", "smith", 'cook, "chef"'], n)
    raw = (age - 45) / 10 + (job == "clerk") + 2 * rng.standard_normal(n)
    return pa.table(
        {
            "age": pa.array(age, mask=rng.random(n) < 0.05),
            "unused": rng.random(n),
            "job": job,
            "bought": np.where(raw > 0, "yes", "no"),
            "pet": rng.choice(["cat", "dog", "rabbit"], n),
            "times": rng.choice([0.0, 0.5, 1.0, 3.7], n),
        }
    )


@dataclass
class Blocks:
    """A source of the rows of some files, read by so many rows at a time; it counts the rows it has handed out."""

    files_of: dict[str, pa.Table]
    sizes: Sequence[int] = (N,)
    warnings: tuple[str, ...] = ()
    target: str | None = None
    read: int = 0
    columns: list[Sequence[str] | None] = field(default_factory=list)

    @property
    def files(self) -> str:
        return ", ".join(self.files_of)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(next(iter(self.files_of.values())).column_names)

    def fingerprint(self) -> str:
        return ""

    def blocks(self, columns: Sequence[str] | None = None, rows: int = BLOCK_ROWS) -> Iterator[Block]:
        return recut(self._as_read(columns), rows)

    def _as_read(self, columns: Sequence[str] | None) -> Iterator[Block]:
        self.columns.append(columns)
        turn = 0
        for file, table in self.files_of.items():
            chosen = table if columns is None else table.select(columns)
            row = 0
            while row < table.num_rows:
                part = chosen.slice(row, self.sizes[turn % len(self.sizes)])
                turn += 1
                self.read += part.num_rows
                yield Block(part, (FileRows(file, range(row, row + part.num_rows)),))
                row += part.num_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and models of two and of three classes."""
    folder = tmp_path_factory.mktemp("streaming")
    pacsv.write_csv(people(), folder / "people.csv")
    train = ["train", "people.csv", "--quiet"]
    assert torchlogit(folder, *train, "--target", "bought", "--drop", "unused,pet,times").code == 0
    assert torchlogit(folder, *train, "--target", "pet", "--drop", "unused,bought,times", "-o", "pets").code == 0
    return folder


@pytest.fixture(params=["people.safetensors", "pets"])
def model(request: pytest.FixtureRequest, folder: Path) -> LogisticModel:
    return load(folder / request.param)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> int:
    """Pieces of 64 rows, so that small tables have many."""
    monkeypatch.setattr(measuring, "MAX_ROWS", 64)
    return 64


CUTS = [(N,), (1,), (7, 200, 3), (63, 65)]


# -- the same bytes ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "parquet"])
def test_predictions_have_the_same_bytes_however_the_rows_are_read(
    suffix: str, model: LogisticModel, tmp_path: Path
) -> None:
    written = set()
    for cut in CUTS:
        predict.predict(model, Blocks({"a": people(), "b": people(77, 1)}, cut), str(tmp_path / f"out.{suffix}"))
        written.add((tmp_path / f"out.{suffix}").read_bytes())
    assert len(written) == 1
    assert os.listdir(tmp_path) == [f"out.{suffix}"]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "csv.zst", "parquet"])
def test_predictions_are_the_models_in_the_order_of_the_rows(suffix: str, model: LogisticModel, tmp_path: Path) -> None:
    path = tmp_path / f"out.{suffix}"
    predict.predict(model, Blocks({"a": people()}, (100,)), str(path))
    found = pq.read_table(path) if suffix == "parquet" else pacsv.read_csv(path)
    assert found.column_names == ["prediction", *(f"probability_{label}" for label in model.classes)]
    assert found.column("prediction").to_pylist() == model.predict(people()).tolist()
    probabilities = np.column_stack([found.column(1 + k).to_numpy() for k in range(len(model.classes))])
    np.testing.assert_allclose(probabilities, model.predict_proba(people()), rtol=1e-13)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("weight", [None, "times"])
def test_metrics_have_the_same_bits_however_the_rows_are_read(weight: str | None, model: LogisticModel) -> None:
    target = "bought" if len(model.classes) == 2 else "pet"
    found = {
        repr(evaluate.evaluate(model, Blocks({"a": people(), "b": people(77, 1)}, cut), target, weight).as_json())
        for cut in CUTS
    }
    assert len(found) == 1


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("weight", [None, "times"])
def test_metrics_are_those_of_the_same_rows_in_memory_to_the_bit(weight: str | None, model: LogisticModel) -> None:
    target = "bought" if len(model.classes) == 2 else "pet"
    table = people()
    weights = None if weight is None else table.column(weight).to_numpy().copy()
    assert model.encoder is not None
    rows = EncodedRows(model.encoder.encode(table).values, check_labels(table, target, model.classes), weights)
    assert evaluate.evaluate(model, Blocks({"a": table}, (19,)), target, weight) == measure(model, rows)


def test_what_training_says_of_its_rows_is_what_evaluate_says_of_the_file(folder: Path, tmp_path: Path) -> None:
    arguments = ["train", str(folder / "people.csv"), "--target", "bought", "--json", "-o", "m"]
    trained = torchlogit(tmp_path, *arguments).stdout
    found = torchlogit(tmp_path, "evaluate", "m", str(folder / "people.csv"), "--json").stdout
    assert found.strip() in trained


def test_a_piece_is_smaller_where_a_row_has_many_values(model: LogisticModel) -> None:
    assert measuring.block_rows(model) == 65_536
    with patch.object(measuring, "MAX_VALUES", 1000):
        rows = measuring.block_rows(model)
    assert rows & (rows - 1) == 0
    assert 100 < rows * (2 + len(model.classes)) <= 1000  # a number and a level, at least, and the predictions


def test_only_the_columns_that_are_needed_are_read(model: LogisticModel, tmp_path: Path) -> None:
    source = Blocks({"a": people()})
    predict.predict(model, source, str(tmp_path / "p.csv"))
    assert "unused" not in source.columns[0]  # type: ignore[operator]
    target = "bought" if len(model.classes) == 2 else "pet"
    evaluate.evaluate(model, source, target, "times")
    assert {target, "times"} <= {*source.columns[1]}  # type: ignore[misc]


# -- few rows held -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1000, 5000])
def test_predict_holds_a_few_pieces_however_many_rows_there_are(
    n: int, small_pieces: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, held, written = Blocks({"a": people(n)}, (small_pieces,)), [], 0

    class Counted(predict.chain):  # type: ignore[misc]
        def __next__(self) -> pa.Table:
            nonlocal written
            table = super().__next__()
            time.sleep(0.001)  # readers that could run ahead would
            held.append(source.read - written)
            written += table.num_rows
            return table

    monkeypatch.setattr(predict, "chain", Counted)
    predict.predict(load(folder / "people.safetensors"), source, str(tmp_path / "out.csv"))
    assert written == n
    assert small_pieces < max(held) <= 5 * small_pieces


@pytest.mark.parametrize("n", [1000, 5000])
def test_evaluate_holds_a_few_pieces_however_many_rows_there_are(
    n: int, small_pieces: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, held, done = Blocks({"a": people(n)}, (small_pieces,)), [], 0
    sums_of = evaluate.sums_of

    def counted(model: LogisticModel, rows: EncodedRows) -> object:
        nonlocal done
        time.sleep(0.001)
        held.append(source.read - done)
        done += len(rows.codes)
        return sums_of(model, rows)

    monkeypatch.setattr(evaluate, "sums_of", counted)
    assert evaluate.evaluate(load(folder / "people.safetensors"), source, "bought", None).rows == n
    assert small_pieces < max(held) <= 5 * small_pieces


def test_what_is_made_ahead_comes_in_order_one_at_a_time() -> None:
    made = 0

    def items() -> Iterator[int]:
        nonlocal made
        for item in range(50):
            made += 1
            yield item

    for item in prefetched(items()):
        time.sleep(0.001)
        assert made <= item + 2
    assert made == 50


def test_an_error_comes_in_its_turn() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("no third")

    made = prefetched(prefetched(items()))
    assert [next(made), next(made)] == [1, 2]
    with pytest.raises(DataError, match="no third"):
        next(made)


def test_stopping_early_ends_every_stage() -> None:
    closed, before = [], threading.active_count()

    def items() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    with closing(prefetched(x for x in prefetched(items()))) as made:
        assert next(made) == 0
    assert closed == [True]
    assert threading.active_count() == before


# -- what deserves a look ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pieces")
def test_warnings_are_said_once_for_all_rows(folder: Path, tmp_path: Path) -> None:
    table = people(500)
    table = table.set_column(2, "job", pa.array(["pilot"] * 300 + ["clerk"] * 199 + [None]))
    pacsv.write_csv(table, tmp_path / "new.csv")
    for command in (["predict"], ["evaluate"]):
        ended = torchlogit(tmp_path, *command, str(folder / "people.safetensors"), "new.csv")
        assert ended.code == 0
        assert ended.stderr.splitlines() == [
            "torchlogit: new.csv: column 'job': 300 rows hold levels not seen in training ('pilot'), "
            "encoded as no level",
            "torchlogit: new.csv: column 'job': missing in 1 row, but in no training row; encoded as no level",
        ]


# -- faults ------------------------------------------------------------------------------------------------------


def three_files(folder: Path, column: str, value: object) -> list[str]:
    """Three files, the third with a wrong value in row 150."""
    names = ["1.csv", "2.csv", "3.csv"]
    for name in names:
        table = people(200, seed=len(name))
        values = table.column(column).to_pylist()
        if name == "3.csv":
            values[149] = value
        index = table.column_names.index(column)
        pacsv.write_csv(
            table.set_column(index, column, pa.array([None if v is None else str(v) for v in values])), folder / name
        )
    return names


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("bought", "maybe", "3.csv row 150: target 'bought' holds 'maybe' in 1 of 64 rows; the model's classes are"),
        ("times", "-1", "3.csv row 150: weight 'times' is -1; expected a finite number, not negative: correct it"),
        ("age", "old", "3.csv row 150: column 'age' holds 'old'"),
    ],
)
def test_evaluate_names_the_file_and_row_of_a_fault_deep_in_the_third(
    column: str, value: str, message: str, folder: Path, tmp_path: Path
) -> None:
    data = three_files(tmp_path, column, value)
    ended = torchlogit(tmp_path, "evaluate", str(folder / "people.safetensors"), *data, "--weight", "times")
    assert (ended.code, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"torchlogit: {message}")
    assert ended.stderr.count("\n") == 1


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
def test_a_fault_in_the_middle_leaves_what_was_there_before(suffix: str, folder: Path, tmp_path: Path) -> None:
    data = three_files(tmp_path, "age", "old")
    (tmp_path / f"p.{suffix}").write_text("before")
    before = sorted(os.listdir(tmp_path))
    ended = torchlogit(tmp_path, "predict", str(folder / "people.safetensors"), *data, "-o", f"p.{suffix}")
    assert ended.code == 1
    assert ended.stderr.startswith("torchlogit: 3.csv row 150: column 'age' holds 'old'")
    assert ended.stderr.count("\n") == 1
    assert (tmp_path / f"p.{suffix}").read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == before


def test_weights_that_are_all_zero_are_refused_at_the_end(folder: Path, tmp_path: Path) -> None:
    table = people(100)
    pacsv.write_csv(table.set_column(5, "times", pa.array([0.0] * 100)), tmp_path / "t.csv")
    ended = torchlogit(tmp_path, "evaluate", str(folder / "people.safetensors"), "t.csv", "--weight", "times")
    assert ended.code == 1
    assert ended.stderr == ("torchlogit: t.csv: weight 'times' is 0 in every row; expected a positive weight in some\n")


@pytest.mark.usefixtures("small_pieces")
def test_weights_may_be_zero_in_a_whole_piece(folder: Path) -> None:
    table = people(300)
    weighted = table.set_column(5, "times", pa.array([0.0] * 128 + [1.0] * 172))
    model = load(folder / "people.safetensors")
    found = evaluate.evaluate(model, Blocks({"a": weighted}), "bought", "times").as_json()
    expected = evaluate.evaluate(model, Blocks({"a": table.slice(128)}), "bought", None).as_json()
    assert found.pop("rows") == 300
    assert expected.pop("rows") == 172
    assert found == pytest.approx(expected, rel=1e-12)


def command_of(*arguments: str, code: str = "") -> list[str]:
    run = f"import sys; sys.argv = ['torchlogit', *{list(arguments)!r}]; {code}\nfrom torchlogit.cli.main import main\n"
    return [sys.executable, "-c", run + "main()"]


@pytest.mark.skipif(os.name != "posix", reason="pipes as POSIX has them")
def test_whoever_reads_only_the_first_lines_is_not_told_of_it(folder: Path, tmp_path: Path) -> None:
    """Nor is torch imported to predict."""
    pacsv.write_csv(people(60_000), tmp_path / "many.csv")  # more than a pipe holds
    code = "import atexit; atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))"
    started = subprocess.Popen(
        command_of("predict", str(folder / "people.safetensors"), "many.csv", code=code),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert started.stdout is not None
    assert started.stderr is not None
    assert started.stdout.readline() == b'"prediction","probability_no","probability_yes"\n'
    started.stdout.close()
    said = started.stderr.read()
    started.stderr.close()
    assert (said, started.wait(60)) == (b"False\n", 128 + signal.SIGPIPE)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_is_full_is_one_line(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            command_of("predict", "people.safetensors", "people.csv"), cwd=folder, stdout=full,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (1, "torchlogit: the output: No space left on device\n")


@pytest.mark.skipif(os.name != "posix", reason="limits as POSIX has them")
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_disk_that_fills_in_the_middle_leaves_the_old_file(suffix: str, folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk: the system refuses the bytes beyond it."""
    (tmp_path / f"p.{suffix}").write_text("before")
    arguments = ["predict", str(folder / "people.safetensors"), str(folder / "people.csv"), "-o", f"p.{suffix}"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        ended = torchlogit(tmp_path, *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended.stderr == f"torchlogit: p.{suffix}: cannot write the file (File too large); nothing was changed\n"
    assert ended.code == 1
    assert (tmp_path / f"p.{suffix}").read_text() == "before"
    assert os.listdir(tmp_path) == [f"p.{suffix}"]


# -- real tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1000, 4096, 65_536])
def test_adult_in_pieces_of_any_size_gives_the_same_metrics(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against scikit-learn's metrics of the model's own probabilities."""
    from sklearn.metrics import log_loss, roc_auc_score

    train, test = ADULT / "adult-train.csv.gz", ADULT / "adult-test.csv.gz"
    assert torchlogit(tmp_path, "train", str(train), "--target", "income", "--quiet", "-o", "m").code == 0
    monkeypatch.setattr(measuring, "MAX_ROWS", rows)
    model, table = load(tmp_path / "m"), open_source([test]).read().table
    found = evaluate.evaluate(model, options.source([str(test)], False, None), "income", None)
    truth, p = np.array(table.column("income").to_pylist()) == ">50K", model.predict_proba(table)[:, 1]
    assert found.rows == 16_281
    assert found.log_loss == pytest.approx(log_loss(truth, p), rel=1e-10)
    assert found.auc == pytest.approx(roc_auc_score(truth, p), rel=1e-10)
    assert found.auc_error == 0
    assert found.calibration_error < 0.02


def test_packed_predictions_unpack_to_the_plain_ones(folder: Path, tmp_path: Path) -> None:
    data = [str(folder / "people.safetensors"), str(folder / "people.csv")]
    plain = torchlogit(tmp_path, "predict", *data).stdout
    for suffix, unpack in (
        ("gz", gzip.decompress),
        ("zst", lambda packed: pa.input_stream(io.BytesIO(packed), compression="zstd").read()),
    ):
        assert torchlogit(tmp_path, "predict", *data, "-o", f"p.csv.{suffix}").code == 0
        assert unpack((tmp_path / f"p.csv.{suffix}").read_bytes()).decode() == plain


@pytest.mark.data
@pytest.mark.skipif(not A9A.is_dir(), reason=f"needs the shared data folder with {A9A}")
def test_a9a_is_predicted_and_measured_in_pieces_as_scikit_learn_measures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.datasets import load_svmlight_file
    from sklearn.metrics import log_loss, roc_auc_score

    (tmp_path / "a9a.svm").symlink_to(A9A / "a9a")
    assert torchlogit(tmp_path, "train", "a9a.svm", "--quiet").code == 0
    monkeypatch.setattr(measuring, "MAX_ROWS", 4096)
    assert torchlogit(tmp_path, "predict", "a9a.safetensors", "a9a.svm", "-o", "p.parquet").code == 0
    p = pq.read_table(tmp_path / "p.parquet").column("probability_1").to_numpy()
    _, truth = load_svmlight_file(str(A9A / "a9a"))
    found = json.loads(torchlogit(tmp_path, "evaluate", "a9a.safetensors", "a9a.svm", "--json").stdout)
    assert found["rows"] == len(p) == 32_561
    assert found["log_loss"] == pytest.approx(log_loss(truth, p), rel=1e-10)
    assert found["auc"] == pytest.approx(roc_auc_score(truth, p), rel=1e-10)
    assert found["auc_error"] == 0
