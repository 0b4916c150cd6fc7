"""The benchmarks run by their one command, and judge answers as the engine does."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from torchlogit.records import Params

ROOT = Path(__file__).resolve().parents[1]


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
    words = ["benchmarks", "--problems", "tiny", "--peers", "torchlogit,lbfgs", "--repeat", "2"]
    monkeypatch.setattr(sys, "argv", [*words, "--markdown", str(page), "--json", str(runs)])
    threads = torch.get_num_threads()
    runpy.run_module("benchmarks", run_name="__main__")
    assert torch.get_num_threads() == threads

    printed = capsys.readouterr().out
    accuracy, defaults = printed.split("What default settings give")
    for table in (accuracy, defaults):
        assert [line.split()[1] for line in table.splitlines() if line.startswith("tiny ")] == ["torchlogit", "lbfgs"]
    assert "never" not in printed
    assert "python -m benchmarks --problems tiny --peers torchlogit,lbfgs --threads 2 --repeat 2 --cap 60" in printed
    assert str(tmp_path) not in printed + page.read_text() + runs.read_text()

    assert page.read_text().count("| tiny | lbfgs |") == 2
    (problem,) = json.loads(runs.read_text())["problems"]
    assert problem["proven"]
    for outcome in problem["outcomes"]:
        assert -1e-13 <= outcome["suboptimality"] <= 1e-6
        assert 0 < outcome["seconds_to"]["0.001"] <= outcome["seconds_to"]["1e-06"]


@pytest.mark.parametrize("name", ["tiny", "tiny3"])
def test_the_judge_agrees_with_the_engine(room, name: str) -> None:
    problem = room("problems").PROBLEMS[name]()
    objective = room("peers").objective_of(problem)
    random = np.random.default_rng(1)
    for scale in (0.0, 0.1, 100.0):
        coef = scale * random.normal(size=(objective.loss.n_outputs, problem.X.shape[1]))
        intercept = scale * random.normal(size=objective.loss.n_outputs)
        theta = objective.theta(Params(torch.from_numpy(coef.T.copy()), torch.from_numpy(intercept)))
        expected = objective.value(theta, objective.raw(theta))
        assert room("measure").judge(problem, coef, intercept).objective == pytest.approx(expected, rel=1e-12)


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
    assert "expected some of torchlogit, lbfgs" in capsys.readouterr().err


def test_each_peer_answers_or_says_why_not(room) -> None:
    problems, peers = room("problems"), room("peers")
    for name in ("tiny", "tiny3"):
        problem = problems.PROBLEMS[name]()
        for peer in peers.PEERS.values():
            if peer.cannot(problem):
                continue
            attempt = room("measure")._attempt(peer, problem, peer.budgets[0])
            outputs = 1 if problem.n_classes == 2 else problem.n_classes
            assert not isinstance(attempt.result, Exception), attempt.result
            assert attempt.result.coef.shape == (outputs, problem.X.shape[1])
            assert attempt.result.intercept.shape == (outputs,)
