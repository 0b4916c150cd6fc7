"""The benchmarks run by their one command, and judge answers as the engine does."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from places import ROOT

TINY = ("tiny", "tiny3", "tiny3_free", "tiny_l1", "tiny_elastic", "tiny_csr")
PEERS = (
    "torchlogit",
    "newton-cholesky",
    "glum",
    "lbfgs",
    "newton-cg",
    "skglm",
    "liblinear-official",
    "liblinear-dual",
    "liblinear",
    "sag",
    "saga",
    "sgdclassifier",
    "vw",
    "xgboost-gblinear",
    "statsmodels",
    "torch-lbfgs",
    "torch-adam",
    "torch-loop",
)
QUICK = ("torchlogit", "lbfgs")  # those that are asked every time, the others with -m slow
INEXACT = ("sgdclassifier", "vw", "torch-adam", "torch-loop")  # with their usual step sizes
PENALISES_INTERCEPT = {("liblinear", "tiny_l1"): 1e-4}
REASONS = (
    "always fits an intercept",
    "always penalises",
    "coordinate descent on one class at a time: two classes only here",
    "l1 or l2, not both",
    "no l1",
    "no l1 in this version",
    "no l1: needs a smooth objective",
    "no l2, and its l1 is for small tables",
    "no softmax",
    "not installed: pip install torchlogit[bench]",
    "one class against the rest, no softmax",
    "rows of its own text format: for sparse tables here",
    "takes no sparse rows",
    "working sets for l1: not for l2 alone",
    "would penalise the intercept",
)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch):
    """A module of the benchmarks by its name; they are run from the repository root, where they lie."""
    monkeypatch.syspath_prepend(str(ROOT))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return load


def test_the_command_prints_a_row_for_each_peer_and_writes_the_same_to_files(
    room, monkeypatch, capsys, tmp_path: Path
) -> None:
    page, runs = tmp_path / "table.md", tmp_path / "runs.json"
    words = ["benchmarks", "--problems", "tiny", "--peers", "torchlogit,lbfgs", "--repeat", "2", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--markdown", str(page), "--json", str(runs)])
    threads = torch.get_num_threads()
    runpy.run_module("benchmarks", run_name="__main__")
    assert torch.get_num_threads() == threads

    printed = capsys.readouterr().out
    accuracy, rest = printed.split("Use of the memory")
    memory, defaults = rest.split("What default settings give")
    assert [line.split()[1] for line in memory.splitlines() if line.startswith("tiny ")] == ["torchlogit"]
    for table in (accuracy, defaults):
        assert [line.split()[1] for line in table.splitlines() if line.startswith("tiny ")] == ["torchlogit", "lbfgs"]
    assert "never" not in printed
    assert "python -m benchmarks --problems tiny --peers torchlogit,lbfgs --threads 1 --repeat 2 --cap 60" in printed
    assert str(tmp_path) not in printed + page.read_text() + runs.read_text()

    assert page.read_text().count("| tiny | lbfgs |") == 2
    (problem,) = json.loads(runs.read_text())["problems"]
    assert problem["proven"]
    for outcome in problem["outcomes"]:
        assert -1e-13 <= outcome["suboptimality"] <= 1e-6
        assert 0 < outcome["seconds_to"]["0.001"] <= outcome["seconds_to"]["1e-06"]


@pytest.mark.parametrize("name", TINY)
def test_the_judge_agrees_with_a_formula_of_its_own(room, name: str) -> None:
    problem = room("problems").PROBLEMS[name]()
    outputs = 1 if problem.n_classes == 2 else problem.n_classes
    rows = (problem.X.toarray() if problem.sparse else problem.X).astype(np.float64)
    random = np.random.default_rng(1)
    for scale in (0.0, 0.1, 100.0):
        coef = scale * random.normal(size=(outputs, problem.X.shape[1]))
        intercept = scale * random.normal(size=outputs)
        raw = np.einsum("ij,kj->ik", rows, coef) + intercept
        if outputs == 1:
            losses = np.logaddexp(0.0, np.where(problem.y == 1, -raw[:, 0], raw[:, 0]))
        else:
            losses = -log_softmax(raw, axis=1)[np.arange(len(raw)), problem.y]
        penalty = problem.l1 * np.linalg.norm(coef.ravel(), 1) + problem.l2 * np.linalg.norm(coef) ** 2 / 2
        judgement = room("measure").judge(problem, coef, intercept)
        assert judgement.objective == pytest.approx(losses.sum() + penalty, rel=1e-12)


@pytest.mark.parametrize("name", ["tiny", "tiny3", "tiny3_free"])
def test_the_judge_agrees_with_the_engine(room, name: str) -> None:
    problem = room("problems").PROBLEMS[name]()
    model = room("peers").certified(problem, 1e-6)
    judgement = room("measure").judge(problem, model.coef_, model.intercept_)
    assert judgement.objective == pytest.approx(model.certificate_.objective, rel=1e-12)


def test_an_answer_that_is_not_finite_is_infinitely_bad(room) -> None:
    problem = room("problems").PROBLEMS["tiny"]()
    assert room("measure").judge(problem, np.full((1, 4), np.nan), np.zeros(1)).objective == np.inf


def test_a_problem_without_its_data_is_skipped_with_the_reason(room, monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCHLOGIT_DATA", str(tmp_path))
    room("__main__").main(["--problems", "covtype", "--peers", "lbfgs"])
    printed = capsys.readouterr().out
    assert "covtype: left out, needs covtype/covtype.csv.gz in the data folder, which TORCHLOGIT_DATA names" in printed


def test_an_unknown_name_is_refused_with_those_there_are(room, capsys) -> None:
    with pytest.raises(SystemExit):
        room("__main__").main(["--peers", "lbfgs,nobody"])
    assert "expected some of torchlogit, newton-cholesky" in capsys.readouterr().err


def _minimum(problem) -> float:
    """min F by L-BFGS-B in float64, the coefficients as differences of parts that are not negative."""
    X, p = (problem.X.toarray() if problem.sparse else problem.X).astype(np.float64), problem.X.shape[1]
    labels = np.eye(problem.n_classes)[problem.y]

    def objective(parts: np.ndarray) -> tuple[float, np.ndarray]:
        plus, minus, intercept = np.split(parts.reshape(2 * p + 1, -1), [p, 2 * p])
        coef = plus - minus
        raw = X @ coef + intercept
        raw = np.hstack([np.zeros_like(raw), raw]) if raw.shape[1] == 1 else raw
        losses = -(log_softmax(raw, axis=1) * labels).sum()
        residual = (softmax(raw, axis=1) - labels)[:, -coef.shape[1] :]
        slope = X.T @ residual + problem.l2 * coef
        gradient = np.vstack([slope + problem.l1, -slope + problem.l1, residual.sum(axis=0)[None]])
        return losses + problem.l1 * (plus + minus).sum() + problem.l2 / 2 * (coef**2).sum(), gradient.ravel()

    outputs = 1 if problem.n_classes == 2 else problem.n_classes
    free = (None, None) if problem.intercept else (0, 0)
    bounds = [(0, None)] * (2 * p * outputs) + [free] * outputs
    settings = {"maxiter": 10000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9}
    found = minimize(objective, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds, options=settings)
    return float(found.fun)


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("peer_name", [p if p in QUICK else pytest.param(p, marks=pytest.mark.slow) for p in PEERS])
def test_each_peer_answers_or_says_why_not(room, name: str, peer_name: str) -> None:
    problem, peer = room("problems").PROBLEMS[name](), room("peers").PEERS[peer_name]
    if reason := peer.cannot(problem):
        assert reason in REASONS
        if reason.startswith("not installed"):
            pytest.skip(reason)
        return
    budget = peer.budgets[0] if peer_name in INEXACT else peer.budgets[-1]
    attempt = room("measure")._attempt(peer, problem.in_precision(peer.precisions[-1]), budget)
    outputs = 1 if problem.n_classes == 2 else problem.n_classes
    assert not isinstance(attempt.result, Exception), attempt.result
    assert attempt.result.coef.shape == (outputs, problem.X.shape[1])
    assert attempt.result.intercept.shape == (outputs,)
    if peer_name not in INEXACT:
        answer = room("measure").judge(problem, attempt.result.coef, attempt.result.intercept)
        assert answer.objective == pytest.approx(
            _minimum(problem), rel=PENALISES_INTERCEPT.get((peer_name, name), 1e-8)
        )


def test_every_peer_is_tested(room) -> None:
    assert tuple(room("peers").PEERS) == PEERS
    assert set(TINY) == {name for name in room("problems").PROBLEMS if name.startswith("tiny")}


def test_a_package_that_is_not_there_is_named_as_the_reason(room, monkeypatch) -> None:
    monkeypatch.setattr(room("peers.peer"), "find_spec", lambda name: None)
    reason = room("peers").PEERS["glum"].cannot(room("problems").PROBLEMS["tiny"]())
    assert reason == "not installed: pip install torchlogit[bench]"


def test_l1_is_what_the_peers_answers_show(room) -> None:
    """Of these coefficients some are zero, and some are not."""
    problem = room("problems").PROBLEMS["tiny_l1"]()
    answer = room("peers").PEERS["saga"].fit(problem.in_precision("float64"), 1000)
    assert 0 < np.count_nonzero(answer.coef) < answer.coef.size


def test_a_peer_gives_up_where_a_larger_budget_would_take_too_long(room) -> None:
    measure = room("measure")

    def run(peer: str, budget: float, objective: float, seconds: float):
        return measure.Run(peer, budget, "float64", objective, 0.5, [seconds], "", (), None, None, False)

    fast, slow = run("fast", 5, 100.0, 0.8), run("slow", 10, 101.0, 2.0)
    clock = measure._Clock(cap=20.0, peer="slow", optimum=100.0, runs=(fast,))
    assert clock.allows(20, [])
    assert clock.allows(20, [slow])  # 4 s, and the fastest took 0.8 s
    assert not clock.allows(50, [slow])
    assert not clock.allows(21, [run("slow", 10, 100.0, 2.0)])  # it is there: twice the seconds are enough
    assert measure._Clock(cap=20.0, peer="slow", optimum=None, runs=(fast,)).allows(50, [slow])  # nothing is proven
    assert not measure._Clock(cap=5.0, peer="slow", optimum=None, runs=(fast,)).allows(50, [slow])

    measured = measure.Measured("p", "", 10, 2, 100.0, True, [fast, measure.replace(slow, cut=True)])
    assert measured.outcome("slow").gave_up == 2.0
    assert measured.outcome("slow").seconds_to == {1e-3: None, 1e-6: None}
    table = room("table")
    printed = table.text(table.Report({}, {}, [measured], {}))
    assert "> 2.00" in printed
    assert "never" not in printed


def test_the_use_of_memory_counts_two_readings_a_pass(room) -> None:
    measure = room("measure")
    run = measure.Run("us", 1e-6, "float32", 100.0, 0.5, [2.0], "certified", (), 1e-7, 3.0, False)
    speed = {"float32": 4000.0}
    (reading,) = measure.Measured(
        "p", "", 100, 10, 100.0, True, [run], plain_read=speed, peaks={"us": 7}, sizes={"float32": 4000}
    ).readings()
    assert (reading.passes, reading.peak) == (3.0, 7)
    assert reading.bytes_read == 2 * 3 * 100 * 10 * 4
    assert reading.share == reading.bytes_read / 2.0 / 4000.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_of_memory_is_what_a_call_took(room) -> None:
    size = 1 << 27

    def take() -> None:
        taken = np.ones(size, dtype=np.uint8)
        time.sleep(0.05)
        del taken

    assert size * 0.9 <= room("memory").peak_beyond(take) <= size * 1.5
