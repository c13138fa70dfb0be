"""Progress: where it goes, and that it stays out of the answer's way."""

from types import SimpleNamespace

import pytest

from fairway.cli import screen as module
from fairway.cli.screen import PlainScreen, SilentScreen, TerminalScreen, screen_for


@pytest.mark.parametrize(
    ("is_terminal", "as_json", "quiet", "kind"),
    [
        (True, False, False, TerminalScreen),
        (True, False, True, TerminalScreen),
        (True, True, False, SilentScreen),
        (False, False, False, PlainScreen),
        (False, False, True, SilentScreen),
        (False, True, False, SilentScreen),
    ],
)
def test_which_screen(monkeypatch, is_terminal, as_json, quiet, kind):
    monkeypatch.setattr(module.sys, "stderr", SimpleNamespace(isatty=lambda: is_terminal))
    assert type(screen_for(as_json, quiet=quiet)) is kind


def test_a_log_gets_a_line_per_step_and_one_now_and_then(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 12.0, 12.0, 13.0, 20.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    with PlainScreen().step("Fetched") as progress:
        progress(1, 4, "a")
        progress(2, 4, "b")
        progress(3, 4, "c")
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err == "Fetched: 50 % (b)\nFetched: 20.0 s\n"


def test_a_terminal_gets_a_bar_and_then_one_line(capsys, monkeypatch):
    monkeypatch.setattr(module, "DRAW_EVERY_S", 0)
    with TerminalScreen().step("Fetched", is_bytes=True) as progress:
        for done in range(1, 4):
            progress(done << 20, 4 << 20, "model.safetensors")
    assert "✓ Fetched" in capsys.readouterr().err
    with TerminalScreen(quiet=True).step("Loaded") as progress:
        progress(1, 2, "x")
    assert "Loaded 0" not in capsys.readouterr().err


def test_a_failed_step_is_not_called_done(capsys):
    for screen in (PlainScreen(), TerminalScreen()):
        with pytest.raises(ValueError, match="no"), screen.step("Fetched"):
            raise ValueError("no")
    assert "Fetched" not in capsys.readouterr().err
