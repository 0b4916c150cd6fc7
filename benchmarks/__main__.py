"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.measure import Measured, measure, threads, warm_up
from benchmarks.peers import PEERS
from benchmarks.problems import BY_DEFAULT, PROBLEMS, MissingDataError
from benchmarks.table import Report, as_json, markdown, text

PACKAGES = ("torchlogit", "torch", "numpy", "scipy", "scikit-learn")
PEERS_PACKAGES = ("glum", "statsmodels", "xgboost-cpu", "skglm", "liblinear-official")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark that the arguments describe, print its tables, and write its files."""
    options = _parser().parse_args(arguments)
    peers = tuple(PEERS[name] for name in options.peers)
    measured, skipped = list[Measured](), dict[str, str]()
    for name in options.problems:
        try:
            problem = PROBLEMS[name]()
        except MissingDataError as error:
            skipped[name] = str(error)
            continue
        warm_up(peers, problem)  # before the thread limit, which holds for libraries that are loaded by then
        with threads(options.threads):
            measured.append(measure(problem, peers, repeat=options.repeat, cap=options.cap, say=_say))
    report = Report(_header(options), {peer.name: peer.note for peer in peers}, measured, skipped)
    print(text(report))
    if options.markdown:
        options.markdown.write_text(markdown(report), encoding="utf-8")
    if options.json:
        options.json.write_text(as_json(report), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="How long torchlogit and its peers take to reach the same optimum.",
        epilog=f"Problems: {', '.join(PROBLEMS)}. Peers: {', '.join(PEERS)}.",
    )
    parser.add_argument("--problems", type=_names(PROBLEMS), default=BY_DEFAULT, help="names, separated by commas")
    parser.add_argument("--peers", type=_names(PEERS), default=tuple(PEERS), help="names, separated by commas")
    parser.add_argument("--threads", type=int, default=2, help="of torch, BLAS and OpenMP (default 2)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of which the median counts (default 3)")
    parser.add_argument("--cap", type=float, default=60.0, help="seconds that a run may take (default 60)")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    parser.add_argument("--json", type=Path, help="write every run to this file, too")
    return parser


def _names(table: Mapping[str, object]) -> Callable[[str], tuple[str, ...]]:
    """A parser of option values: keys of this table, separated by commas."""

    def parse(words: str) -> tuple[str, ...]:
        names = tuple(word for word in words.split(",") if word)
        if not names or any(name not in table for name in names):
            raise argparse.ArgumentTypeError(f"{words!r}: expected some of {', '.join(table)}")
        return names

    return parse


def _header(options: argparse.Namespace) -> dict[str, str]:
    """The settings that the figures depend on, without host name, date or folders."""
    asked = {"problems": ",".join(options.problems), "peers": ",".join(options.peers)}
    counts = {"threads": options.threads, "repeat": options.repeat, "cap": f"{options.cap:g}"}
    command = ["python", "-m", "benchmarks"]
    for name, value in {**asked, **counts}.items():
        command += [f"--{name}", str(value)]
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
        "threads": str(options.threads),
        "command": shlex.join(command),
    }


def _versions() -> Iterator[str]:
    for package in PACKAGES + PEERS_PACKAGES:
        with suppress(PackageNotFoundError):
            yield f"{package} {version(package)}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
