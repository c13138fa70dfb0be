"""How long work is shown: a bar that moves on a terminal, plain lines elsewhere, nothing for --json.

Progress goes to stderr, so that what a command answers can be piped. rich is imported only when a
bar is drawn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from fairway.registry.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

PLAIN_EVERY_S = 10.0
DRAW_EVERY_S = 0.1


def no_progress(done: int, total: int, what: str) -> None:
    """For work whose steps nobody watches."""


class Screen(Protocol):
    """Where a command tells how far it is."""

    @contextmanager
    def step(self, title: str, *, is_bytes: bool = False) -> Iterator[Progress]:
        """One piece of work, shown while it lasts and with its time when it is done."""
        ...

    def note(self, text: str) -> None:
        """One line that is worth knowing."""
        ...


class SilentScreen:
    """For --json."""

    @contextmanager
    def step(self, title: str, *, is_bytes: bool = False) -> Iterator[Progress]:  # noqa: ARG002
        yield no_progress

    def note(self, text: str) -> None:
        pass


class PlainScreen:
    """For logs and pipes: a line when a step is done, and one now and then when it takes long."""

    @contextmanager
    def step(self, title: str, *, is_bytes: bool = False) -> Iterator[Progress]:  # noqa: ARG002
        start = told = time.monotonic()

        def progress(done: int, total: int, what: str) -> None:
            nonlocal told
            if time.monotonic() - told >= PLAIN_EVERY_S and total:
                told = time.monotonic()
                self.note(f"{title}: {100 * done // total} %{what and f' ({what})'}")

        yield progress
        self.note(f"{title}: {time.monotonic() - start:.1f} s")

    def note(self, text: str) -> None:
        click.echo(text, err=True)


class TerminalScreen:
    """A bar with speed and time left, replaced by one line when the step is done; none if `quiet`."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet

    @contextmanager
    def step(self, title: str, *, is_bytes: bool = False) -> Iterator[Progress]:
        start = time.monotonic()
        bar = _Bar(title, is_bytes)
        try:
            yield bar.show
        finally:
            bar.close()
        if not self._quiet:
            took = _faint(f"{time.monotonic() - start:.1f} s")
            self.note(f"{click.style('✓', fg='green')} {title} {took}")

    def note(self, text: str) -> None:
        click.echo(text, err=True)


class _Bar:
    """Draws nothing until a step has lasted long enough to be watched."""

    def __init__(self, title: str, is_bytes: bool) -> None:
        self._title = title
        self._is_bytes = is_bytes
        self._drawn = time.monotonic()
        self._bars: Bars | None = None

    def show(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now - self._drawn < DRAW_EVERY_S:
            return
        self._drawn = now
        if self._bars is None:
            self._bars = _open_bars(self._is_bytes)
            self._bars.add_task(self._title, total=None)
        task = self._bars.task_ids[0]
        self._bars.update(task, completed=done, total=total, description=f"{self._title} {what}")

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def _open_bars(is_bytes: bool) -> Bars:
    from rich import progress
    from rich.console import Console

    amounts = (
        [progress.DownloadColumn(), progress.TransferSpeedColumn()]
        if is_bytes
        else [progress.MofNCompleteColumn()]
    )
    bars = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *amounts,
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    bars.start()
    return bars


def _faint(text: str) -> str:
    return click.style(text, dim=True)


def screen_for(as_json: bool, *, quiet: bool = False) -> Screen:
    """The right one for where stderr goes. `quiet`: only what takes long, and only on a terminal."""
    if sys.stderr.isatty() and not as_json:
        return TerminalScreen(quiet=quiet)
    return SilentScreen() if as_json or quiet else PlainScreen()
