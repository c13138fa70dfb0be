"""What an answer is worth, and bars: texts and numbers, no model."""

import pytest

from fairway.errors import SettingsError
from fairway.tune.gate_settings import GateSettings
from fairway.tune.metrics import METRICS, Bar, metrics_named, parse_bars


@pytest.mark.parametrize(
    ("metric", "answer", "expected", "worth"),
    [
        ("exact_match", " It is 4.\n", "It is 4.", 1),
        ("exact_match", "It is 4", "It is 4.", 0),
        ("contains", "I think it is 4, yes.", "it is 4", 1),
        ("contains", "No.", "it is 4", 0),
        ("json", '{"b": 1, "a": [2]}', '{"a":[2],"b":1}', 1),
        ("json", '{"a": 2}', '{"a": 3}', 0),
        ("json", "not json", '{"a": 3}', 0),
    ],
)
def test_metrics(metric, answer, expected, worth):
    assert METRICS[metric](answer, expected) == worth


def test_a_function_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text("def half(answer, expected):\n    return len(answer) / len(expected)\n")
    [(name, metric)] = metrics_named([f"{tmp_path}/mine.py:half"]).items()
    assert (name, metric("ab", "abcd")) == ("half", 0.5)
    with pytest.raises(SettingsError, match=r"half of .*mine\.py failed: ZeroDivisionError"):
        metric("ab", "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bleu", "no metric 'bleu'"),
        ("none.py:f", "none.py is no Python file"),
        ("{}/broken.py:f", "cannot be loaded: SyntaxError"),
        ("{}/fine.py:g", "has no function g"),
    ],
)
def test_wrong_metrics(tmp_path, name, said):
    (tmp_path / "broken.py").write_text("def f(:")
    (tmp_path / "fine.py").write_text("f = 1")
    with pytest.raises(SettingsError, match=said):
        metrics_named([name.format(tmp_path)])


def test_bars():
    assert parse_bars("exact_match>=0.8, stops > 0.95,loss<=2e0") == (
        Bar("exact_match", ">=", 0.8), Bar("stops", ">", 0.95), Bar("loss", "<=", 2.0),
    )  # fmt: skip
    assert Bar("loss", "<=", 2.0).missed_by({"loss": 2.0}) is None
    assert Bar("loss", "<=", 2.0).missed_by({"loss": 2.5}) == "loss is 2.5, not loss<=2"
    assert Bar("stops", ">=", 0.5).missed_by({"stops": None}) == (
        "stops could not be measured, and stops>=0.5 is asked for"
    )


@pytest.mark.parametrize("text", ["exact_match", "exact_match=1", "loss<=", "loss<=1.2.3", "a b<=1"])
def test_wrong_bars(text):
    with pytest.raises(SettingsError, match="is no requirement"):
        parse_bars(text)


def test_a_bar_brings_its_metric_and_needs_one():
    assert list(GateSettings(require="json>=1").metrics()) == ["exact_match", "json"]
    with pytest.raises(SettingsError, match="asks for 'bleu', which is not measured"):
        GateSettings(require="bleu>=1").metrics()
