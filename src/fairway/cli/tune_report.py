"""What `fairway tune --check` found, in the terminal: figures, a histogram, findings, and coloured tokens."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairway.cli.inspect import printable
from fairway.tune.check import CheckReport, FileReport, Shown, ShownToken
from fairway.tune.findings import Group
from fairway.tune.statistics import Lengths

SIGNS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("–", "bright_black")}
NUM_PLACES = 3
MOST_TOKENS = 1000
"""Of one example; the page shows all."""
BAR_WIDTH = 32
# Two shades take turns, so that one can see where a token ends.
LEARNED, MASKED, END = ("green", "bright_green"), ("bright_black", "white"), "bold black on green"


def draw(report: CheckReport, *, num_shown: int) -> None:
    """Everything; the verdict in the last line, where a terminal leaves the eye."""
    console = Console(highlight=False)
    for file in report.files:
        console.print(Text(printable(file.path.name), style="bold cyan"))
        console.print(_facts(file, report.max_length))
        if file.lengths is not None:
            console.print(_histogram(file.lengths))
        for group in file.groups:
            _draw_group(console, group)
    for shown in report.files[0].shown[:num_shown]:
        console.print(_preview(shown))
    console.print(_verdict(report))


def facts(file: FileReport, max_length: int | None) -> Iterator[tuple[str, str]]:
    """Names and values."""
    yield "shape", f"{file.shape} ({file.format})"
    yield "rows", f"{file.num_rows:,}, which make {file.num_examples:,} examples"
    if file.lengths is None:
        return
    share = file.num_learned / max(1, file.num_tokens)
    yield "tokens", f"{file.num_tokens:,}, of which {file.num_learned:,} are learned ({share:.1%})"
    lengths = file.lengths
    fit = "" if max_length is None else f"; {max_length:,} fit"
    most = f"median {lengths.median:,}, 95 % up to {lengths.p95:,}"
    yield "lengths", f"{lengths.shortest:,} to {lengths.longest:,}, {most}{fit}"
    yield "learn to stop", f"{file.num_stopping:,} of {file.num_examples:,} examples"
    if file.packing is not None:
        yield "packed", str(file.packing)


def _facts(file: FileReport, max_length: int | None) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts(file, max_length):
        table.add_row(name, value)
    return table


def _histogram(lengths: Lengths) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for style, side in (("dim", "right"), ("green", "left"), ("", "right")):
        table.add_column(style=style, justify=side, no_wrap=True)  # type: ignore[arg-type]
    most = max(count for _, _, count in lengths.bins)
    for low, high, count in lengths.bins:
        filled = "█" * round(count / most * BAR_WIDTH) or ("▏" if count else "")
        table.add_row(f"{low:,}–{high - 1:,}" if high - low > 1 else f"{low:,}", filled, f"{count:,}")
    return table


def _draw_group(console: Console, group: Group) -> None:
    sign, colour = SIGNS[group.level]
    rows = "1 row" if group.count == 1 else f"{group.count:,} rows"
    line = Text(f"{sign} {rows}: ", style=colour)
    line.append(group.title, style="default")
    console.print(line)
    for finding in group.first[:NUM_PLACES]:
        text = f"    {finding.place}" + (f": {finding.message}" if finding.message else "")
        console.print(Text(printable(text), style="dim"))
    if group.count > NUM_PLACES:
        console.print(Text(f"    and {group.count - NUM_PLACES:,} more", style="dim"))
    if group.first[0].hint:
        console.print(Text(f"    {printable(group.first[0].hint)}", style="yellow"))


def _preview(shown: Shown) -> Text:
    """Green is learned, the rest is only read; a filled token ends the answer."""
    learned = sum(token.learned for token in shown.tokens)
    part = f", {shown.part}" if shown.part else ""
    text = Text()
    text.append(f"\n{shown.place}{part}: {learned} of {len(shown.tokens)} tokens are learned\n", style="bold")
    for at, token in enumerate(shown.tokens[:MOST_TOKENS]):
        text.append(_written(token), style=_style(token, at))
    more = len(shown.tokens) - MOST_TOKENS
    return text.append(f"\n... and {more:,} tokens more\n" if more > 0 else "\n")


def _style(token: ShownToken, at: int) -> str:
    if token.learned:
        return END if token.ends else LEARNED[at % 2]
    return MASKED[at % 2]


def _written(token: ShownToken) -> str:
    return "".join("↵\n" if char == "\n" else printable(char) for char in token.text)


def _verdict(report: CheckReport) -> Text:
    if report.passed():
        return Text(f"✓ {report.model} can learn this: {report.counted()}.", style="bold green")
    return Text(f"✗ {report.model} cannot learn this as it is: {report.counted()}.", style="bold red")
