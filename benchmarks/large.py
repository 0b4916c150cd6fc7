"""Training from files, end to end: `torchlogit train`, Vowpal Wabbit, and a loop of SGDClassifier.partial_fit.

    python -m benchmarks.large --rows 2e6 --folder F
    python -m benchmarks.large --rows 2e7 --folder F --contestants parquet,vw

Each contestant is a process of its own, timed from start to end, and judged by the log loss of its predictions for
validation rows. Memory is the largest anonymous memory of the process, less that after its imports; pages of mapped
files are not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.mixed import make

TORCHLOGIT = [str(Path(sys.executable).parent / "torchlogit")]
IMPORTS = "import torch, numba, sklearn.linear_model, pyarrow.dataset, torchlogit.estimator"
VW = """
import sys, time
from vowpalwabbit import Workspace
began = time.perf_counter()
workspace = Workspace(sys.argv[1])
workspace.finish()
print(time.perf_counter() - began)
"""
PARTIAL_FIT = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, scipy.sparse as sp
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import OneHotEncoder

def numbers(batch):
    x = np.column_stack([batch[f"n{j}"].to_numpy(zero_copy_only=False).astype(np.float32) for j in range(18)])
    return np.where(np.isnan(x), np.nan, x)

def levels(batch):
    return np.column_stack([batch[f"c{j}"].fill_null("NA").to_numpy(zero_copy_only=False) for j in range(12)])

def features(batch):
    x = (numbers(batch) - mean) / scale
    gaps = np.isnan(x)
    x[gaps] = 0
    missing = sp.csr_matrix(gaps[:, gappy].astype(np.float32))
    return sp.hstack([sp.csr_matrix(x), missing, encoder.transform(levels(batch))]).tocsr()

model, first = SGDClassifier(loss="log_loss", alpha=1e-7, random_state=0), True
for batch in pq.ParquetFile(sys.argv[1]).iter_batches(65536):
    if first:
        x = numbers(batch)
        mean, scale, gappy = np.nanmean(x, axis=0), np.nanstd(x, axis=0), np.isnan(x).any(axis=0)
        encoder = OneHotEncoder(handle_unknown="ignore", dtype=np.float32).fit(levels(batch))
    model.partial_fit(features(batch), batch["bought"].to_numpy(), classes=[0, 1])
    first = False
for batch in pq.ParquetFile(sys.argv[2]).iter_batches(1 << 20):
    np.save(sys.argv[3], model.predict_proba(features(batch))[:, 1])
"""


@dataclass(frozen=True)
class Outcome:
    """Total seconds, the log loss of the validation rows, the largest anonymous memory in bytes, and a remark."""

    seconds: float
    log_loss: float
    memory: int
    remark: str


def run(command: Sequence[str]) -> tuple[float, int, str]:
    """Run a command: its seconds, its largest anonymous memory in bytes, and what it printed."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most = 0

    def watch() -> None:
        nonlocal most
        while process.poll() is None:
            most = max(most, _anonymous(process.pid))
            time.sleep(0.25)  # reading smaps_rollup walks through all pages of the process

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return time.perf_counter() - began, most, printed


def _anonymous(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Anonymous:"))


def imports() -> int:
    """The anonymous memory, in bytes, of a process that only imports the libraries."""
    return run([sys.executable, "-c", f"{IMPORTS}; import time; time.sleep(0.5)"])[1]


def log_loss(valid: Path, probability: np.ndarray) -> float:
    """The log loss of the validation rows."""
    truth = pq.read_table(valid.with_suffix(".parquet"), columns=["bought"])["bought"].to_numpy()
    right = np.where(truth == 1, probability, 1 - probability)
    return float(-np.mean(np.log(np.maximum(right, 1e-15))))


def train(rows: int, folder: Path, suffix: str, options: Sequence[str] = ()) -> Outcome:
    """`torchlogit train` of a file."""
    data, valid = make(rows, folder, suffix)
    model = folder / "mixed.safetensors"
    command = [*TORCHLOGIT, "train", str(data), "--target", "bought", "-o", str(model), "--json", *options]
    seconds, memory, printed = run(command)
    told = json.loads(printed)
    _, _, measured = run([*TORCHLOGIT, "evaluate", str(model), str(valid), "--json"])
    remark = (
        f"{told['status']}, relative bound {told['relative_bound'] or float('nan'):.1e}, fit {told['seconds']:.1f} s"
    )
    return Outcome(seconds, json.loads(measured)["log_loss"], memory, remark)


def vowpal_wabbit(rows: int, folder: Path, passes: int) -> Outcome:
    """Vowpal Wabbit's default algorithm: one pass over its text format, or several over its cache."""
    data, valid = make(rows, folder, "vw")
    model, predictions, cache = folder / "vw.model", folder / "vw.predictions", folder / "vw.cache"
    cache.unlink(missing_ok=True)
    several = f"--passes {passes} --cache_file {cache} --holdout_off" if passes > 1 else ""
    given = f"-d {data} --loss_function logistic -b 18 -f {model} --quiet {several}"
    seconds, memory, _ = run([sys.executable, "-c", VW, given])
    run([sys.executable, "-c", VW, f"-d {valid} -t -i {model} -p {predictions} --link logistic --quiet"])
    return Outcome(seconds, log_loss(valid, np.loadtxt(predictions)), memory, "")


def partial_fit(rows: int, folder: Path) -> Outcome:
    """SGDClassifier.partial_fit on pyarrow's batches; the first batch gives scales and levels."""
    data, valid = make(rows, folder, "parquet")
    predictions = folder / "partial_fit.npy"
    seconds, memory, _ = run([sys.executable, "-c", PARTIAL_FIT, str(data), str(valid), str(predictions)])
    return Outcome(seconds, log_loss(valid, np.load(predictions)), memory, "")


QUICK = ("--sample-rows", "200000", "--tol", "1e-3")
CONTESTANTS: dict[str, Callable[[int, Path], Outcome]] = {
    "parquet": lambda rows, folder: train(rows, folder, "parquet", ["--tol", "1e-4"]),
    "parquet-quick": lambda rows, folder: train(rows, folder, "parquet", QUICK),
    "parquet-stream": lambda rows, folder: train(rows, folder, "parquet", ["--solver", "streaming"]),
    "csv": lambda rows, folder: train(rows, folder, "csv", ["--tol", "1e-4"]),
    "csv-quick": lambda rows, folder: train(rows, folder, "csv", QUICK),
    "csv-stream": lambda rows, folder: train(rows, folder, "csv", ["--solver", "streaming"]),
    "vw": lambda rows, folder: vowpal_wabbit(rows, folder, 1),
    "vw-2-passes": lambda rows, folder: vowpal_wabbit(rows, folder, 2),
    "vw-6-passes": lambda rows, folder: vowpal_wabbit(rows, folder, 6),
    "partial-fit": partial_fit,
}


def main() -> None:
    """Print a line for each contestant as it finishes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=float, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    given = parser.parse_args()
    for suffix in ("parquet", "csv", "vw"):
        if any(name.startswith(suffix) for name in given.contestants.split(",")):
            make(int(given.rows), given.folder, suffix)
    base = imports()
    print(f"{'':16}{'seconds':>9}{'Mrows/s':>9}{'log loss':>11}{'MB':>7}")
    for name in given.contestants.split(","):
        outcome = CONTESTANTS[name](int(given.rows), given.folder)
        rate, memory = given.rows / outcome.seconds / 1e6, (outcome.memory - base) / 1e6
        figures = f"{outcome.seconds:9.1f}{rate:9.2f}{outcome.log_loss:11.6f}{memory:7.0f}"
        print(f"{name:16}{figures}  {outcome.remark}", flush=True)


if __name__ == "__main__":
    main()
