"""The results as plain text, Markdown or JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from benchmarks.measure import LEVELS, Measured

Row = tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The results of a run. header: its settings. notes: by peer. skipped: problems left out, with the reasons."""

    header: dict[str, str]
    notes: dict[str, str]
    measured: list[Measured]
    skipped: dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table with a title; columns from `numbers` on, but for the last, are aligned right."""

    title: str
    columns: Row
    rows: list[Row]
    numbers: int = 2

    def text(self) -> str:
        """The table as aligned text."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join([self.title, "", *("  ".join(self._aligned(line, widths)).rstrip() for line in lines)])

    def markdown(self) -> str:
        """The table in Markdown."""
        rule = ["---:" if self._is_number(i) else "---" for i in range(len(self.columns))]
        lines = [self.columns, rule, *self.rows]
        return "\n".join([f"**{self.title}**", "", *("| " + " | ".join(line) + " |" for line in lines)])

    def _aligned(self, line: Row, widths: list[int]) -> list[str]:
        return [
            cell.rjust(width) if self._is_number(i) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]

    def _is_number(self, column: int) -> bool:
        return self.numbers <= column < len(self.columns) - 1


def tables(report: Report) -> list[Table]:
    """The tables: time to an accuracy, use of memory, and results of default settings for the problems marked so."""
    found = [_accuracy(report)]
    if any(measured.readings() for measured in report.measured):
        found.append(_memory(report))
    if any(measured.default_runs for measured in report.measured):
        found.append(_out_of_the_box(report))
    return found


def text(report: Report) -> str:
    """The report for a terminal."""
    header = [f"{key}: {value}" for key, value in report.header.items()]
    return "\n\n".join(["\n".join(header), *(table.text() for table in tables(report)), "\n".join(_remarks(report))])


def markdown(report: Report) -> str:
    """The report as a page of documentation."""
    header = "\n".join(f"- {key}: {value}" for key, value in report.header.items())
    remarks = "\n".join(f"- {remark}" for remark in _remarks(report))
    return "\n\n".join([header, *(table.markdown() for table in tables(report)), remarks]) + "\n"


def as_json(report: Report) -> str:
    """Everything measured, with all times of each run; numbers that are not finite are null."""
    problems = [{**asdict(m), "outcomes": _outcomes(m)} for m in report.measured]
    whole = {"header": report.header, "notes": report.notes, "skipped": report.skipped, "problems": problems}
    return json.dumps(_finite(whole), indent=1, allow_nan=False) + "\n"


def _outcomes(measured: Measured) -> list[dict[str, object]]:
    outcomes = [asdict(measured.outcome(peer)) for peer in _peers(measured)]
    for outcome in outcomes:
        outcome["seconds_to"] = {f"{level:g}": seconds for level, seconds in outcome["seconds_to"].items()}
    return outcomes


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return None
    return value


def _peers(measured: Measured) -> list[str]:
    return list(dict.fromkeys(run.peer for run in measured.runs))


def _accuracy(report: Report) -> Table:
    rows: list[Row] = []
    for measured in report.measured:
        for peer in _peers(measured):
            outcome = measured.outcome(peer)
            rows.append(
                (
                    measured.problem,
                    peer,
                    *(_seconds(outcome.seconds_to[level], outcome.gave_up) for level in LEVELS),
                    _small(outcome.suboptimality),
                    _small(outcome.relative_bound),
                    ", ".join([outcome.ended, *outcome.warned]),
                )
            )
        unable = ("-",) * (len(LEVELS) + 2)
        rows += [(measured.problem, peer, *unable, reason) for peer, reason in measured.refused.items()]
    columns = ("problem", "peer", *(f"s to {level:g}" for level in LEVELS), "at the end", "proven", "how it ended")
    return Table("Seconds until (F - F*) / F* is as small as this", columns, rows)


def _memory(report: Report) -> Table:
    rows: list[Row] = []
    for measured in report.measured:
        for reading in measured.readings():
            rows.append(
                (
                    measured.problem,
                    reading.peer,
                    f"{reading.passes:.3g}",
                    f"{reading.bytes_read / 1e9:.3g}",
                    f"{reading.bytes_read / reading.seconds / 1e9:.3g}",
                    f"{measured.plain_read[reading.precision] / 1e9:.3g}",
                    f"{reading.share:.0%}",
                    "-" if reading.peak is None else f"{reading.peak / 1e6:.0f}",
                    f"{measured.sizes[reading.precision] / 1e6:.0f}, {reading.precision}",
                )
            )
    columns = ("problem", "peer", "passes", "GB read", "GB/s", "plain read", "share", "peak MB beyond X", "MB of X")
    return Table("Use of the memory by the fastest run to the finest accuracy above", columns, rows)


def _out_of_the_box(report: Report) -> Table:
    rows: list[Row] = []
    for measured in report.measured:
        for run in measured.default_runs:
            excess = (run.objective - measured.optimum) / measured.n_rows
            warned = ", ".join(run.warned) or ("-" if run.ended.startswith("raised") else "no")
            rows.append((measured.problem, run.peer, _small(max(excess, 0.0)), f"{run.accuracy:.3f}", warned))
    columns = ("problem", "peer", "excess log loss", "accuracy", "warned")
    return Table("What default settings give: mean log loss above the least possible, accuracy", columns, rows)


def _remarks(report: Report) -> list[str]:
    remarks = [
        f"{m.problem}: {m.description}; F* / n = {m.optimum / m.n_rows:.10f}{_proof(m)}" for m in report.measured
    ]
    remarks += [f"{name}: left out, {reason}" for name, reason in report.skipped.items()]
    shared = dict.fromkeys(note for note in report.notes.values() if note)
    for note in shared:
        remarks.append(f"{', '.join(peer for peer, own in report.notes.items() if own == note)}: {note}")
    return remarks


def _proof(measured: Measured) -> str:
    if measured.below_proof():
        return " WAS SAID TO BE PROVEN, AND A PEER IS BELOW IT: a fault in torchlogit"
    return " (a proven lower bound)" if measured.proven else " (the least that anyone reached)"


def _seconds(seconds: float | None, gave_up: float | None) -> str:
    if seconds is None:
        return "never" if gave_up is None else f"> {_seconds(gave_up, None)}"
    return f"{seconds:.2f}" if seconds >= 1 else f"{seconds:.4f}"


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
