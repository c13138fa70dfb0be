"""The README's one table of measurements: filled from a result, never written by hand.

What stands between the two marks is replaced. The latest result counts whose machine was quiet; a
result that is named is taken as it is, and the text says how busy the machine was.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.comparison.numbers import percent
from benchmarks.comparison.rates import rates_table
from benchmarks.comparison.results import QUIET_SHARE, Report, read_report

BEGIN, END = "<!-- measured: benchmarks/compare.py --readme writes this -->\n", "<!-- end of measured -->\n"
MODELS = {
    "qwen2.5-0.5b": "the shape of Qwen2.5-0.5B with random weights",
    "qwen2.5-1.5b": "the shape of Qwen2.5-1.5B with random weights",
}
MODEL = "qwen2.5-0.5b"


def fill_readme(readme: Path, result: Path) -> str:
    """`result` is a file, or the folder whose latest quiet one is taken. Says what it did."""
    path = latest_quiet(result) if result.is_dir() else result
    if path is None:
        sys.exit(
            f"No result of {MODEL} in {result} is of a quiet machine (others below {QUIET_SHARE:.0%}): "
            "measure again, or name one."
        )
    link = os.path.relpath(path.with_suffix(".md"), readme.parent)
    readme.write_text(filled(readme.read_text("utf-8"), section(read_report(path), link)), "utf-8")
    return f"{readme.name} shows {path.stem}"


def latest_quiet(folder: Path) -> Path | None:
    """Names begin with the date, so the last name is the latest."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        report = read_report(path)
        if report.model == MODEL and report.rows and report.is_quiet:
            return path
    return None


def filled(readme: str, text: str) -> str:
    before, _, rest = readme.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"README.md needs the lines {BEGIN.strip()} and {END.strip()} around its measurements.")
    return f"{before}{BEGIN}{text}{END}{after}"


def section(report: Report, link: str) -> str:
    machine, rounds = report.machine, report.workload["complete rounds"]
    model = MODELS.get(report.model, report.model)
    return f"""
Tokens per second on {model}, {machine["threads"]} threads of {machine["processor"]}: median of {rounds}
rounds in which all engines take turns (lowest-highest), {report.date[:10]}, others using
{percent(report.others)} of the processor (`python benchmarks/compare.py`; [workload, limits, plot]({link})).

{rates_table(report.rows, report.titles)}

"""
