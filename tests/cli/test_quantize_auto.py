"""`fairway quantize --auto` from the command line: the file, the table, the reasons, and what is refused."""

import json
from pathlib import Path

import pytest

from fairway.autoquantize import measure, speed
from fairway.cli.main import run
from fairway.convert.workplace import Workplace
from fairway.errors import DoesNotFit
from fairway.formats.open import open_bundle
from fairway.proof import evaluation_text

BABYLLAMA = Path(__file__).parents[3] / "shared" / "data" / "models" / "babyllama"
needs_babyllama = pytest.mark.skipif(not BABYLLAMA.is_dir(), reason="../shared is absent")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Where measurements are kept from one test to the next."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def place(tmp_path, measured, monkeypatch):
    """A folder of the test's own, and a text that is read quickly."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(measured))
    monkeypatch.setattr(speed, "LEAST_S", 0.001)
    (tmp_path / "short.txt").write_text(evaluation_text.mixed()[:6000])
    return tmp_path


def auto(*arguments):
    return run(["quantize", *arguments[:1], "--auto", "--text", "short.txt", *arguments[1:]])


def test_a_budget_a_table_and_three_reasons(place, capsys):
    assert auto("builtin", "--budget", "3.5MB", "--html", "page.html") == 0
    out, told = capsys.readouterr()
    path = place / "builtin-auto.gguf"
    assert path.stat().st_size <= 3_500_000
    assert "auto ←" in out
    for mix in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K"):
        assert f"\n{mix} " in out
    assert "A mix of its own, 3.50 MB: KL " in out
    assert "the usual mix nearest in size" in out
    assert "given most" in out
    assert "All 6 checks passed." in out
    assert "Measuring 43 groups of matrices, 6 usual mixes: about " in told
    assert (place / "page.html").read_text("utf-8").count("<circle") == 7
    step = open_bundle(path).lineage.steps[-1]
    record = step.settings["auto"]
    assert record["budget_bytes"] == 3_500_000
    assert set(record["types"]) > {"token_embd", "ffn_down"}
    assert record["kl_mean"] > 0


@needs_babyllama
def test_a_quality_is_what_verify_finds(place, capsys):
    assert auto(str(BABYLLAMA), "--quality", "0.02", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    own = report["auto"]["chosen"]
    assert own["kl_mean"] <= 0.02
    assert report["num_bytes"] == own["num_bytes"] == (place / "babyllama-auto.gguf").stat().st_size
    assert len(report["auto"]["because"]) == 3
    assert [row["name"] for row in report["auto"]["candidates"]].count("auto") == 1
    sizes = [row["num_bytes"] for row in report["auto"]["candidates"]]
    assert sizes == sorted(sizes, reverse=True)
    command = ["verify", str(BABYLLAMA), "babyllama-auto.gguf", "--text", "short.txt", "--json"]
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)["evidence"]["logits"]
    assert found["kl_mean"] == pytest.approx(own["kl_mean"], rel=0.5)


@needs_babyllama
def test_better_than_a_usual_mix_of_the_same_size(capsys):
    """On a text that the choice has not seen."""
    settings = [str(BABYLLAMA), "--budget", "716kB", "--out", "own.gguf"]
    assert auto(*settings) == 0
    assert run(["quantize", str(BABYLLAMA), "--to", "Q4_K_M", "--out", "usual.gguf"]) == 0
    capsys.readouterr()
    Path("other.txt").write_text(evaluation_text.mixed()[20_000:])
    found = []
    for name in ("own.gguf", "usual.gguf"):
        run(["verify", str(BABYLLAMA), name, "--text", "other.txt", "--json"])
        found.append(json.loads(capsys.readouterr().out)["evidence"]["logits"]["kl_mean"])
    assert Path("own.gguf").stat().st_size <= Path("usual.gguf").stat().st_size + 1024
    assert found[0] < 0.8 * found[1]


def test_a_dry_run_measures_and_writes_nothing(place, capsys):
    assert auto("builtin", "--budget", "3MB", "--dry-run") == 0
    out = capsys.readouterr().out
    assert "auto ←" in out
    assert "would write builtin-auto.gguf, 3.00 MB" in out
    assert not list(place.glob("*.gguf"))


def test_a_second_goal_measures_only_what_is_new(place, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    assert auto("builtin", "--budget", "3MB", "--dry-run") == 0
    calls = []
    real = measure.decode_rate
    monkeypatch.setattr(measure, "decode_rate", lambda recorded: calls.append(1) or real(recorded))
    monkeypatch.setattr(measure.Measuring, "_divergence", None)
    assert auto("builtin", "--budget", "4MB", "--dry-run") == 0
    assert len(calls) == 1
    capsys.readouterr()


def test_a_run_that_was_cut_off_goes_on(place, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    real, left = measure.Measuring._divergence, [20]

    def tired(self, types):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(self, types)

    monkeypatch.setattr(measure.Measuring, "_divergence", tired)
    assert auto("builtin", "--budget", "3MB") == 130
    assert not list(Path.cwd().glob("*.gguf"))
    left[0] = 10_000
    assert auto("builtin", "--budget", "3MB") == 0
    assert 10_000 - left[0] == 43 + 1 - 19
    assert "Traceback" not in "".join(capsys.readouterr())


def test_a_gguf_file_of_floats_is_a_source_too(place, capsys):
    assert run(["convert", "builtin", "--to", "gguf", "--out", "float.gguf"]) == 0
    assert auto("float.gguf", "--budget", "3MB") == 0
    assert (place / "float-auto.gguf").stat().st_size <= 3_000_000
    assert "checks passed" in capsys.readouterr().out


REFUSED = {
    "no goal": (["builtin", "--auto"], "--budget 6GB"),
    "two goals": (["builtin", "--auto", "--budget", "3MB", "--quality", "0.1"], "one goal"),
    "no type": (["builtin"], "no type to quantise to"),
    "type and auto": (["builtin", "--auto", "--to", "Q8_0", "--budget", "3MB"], "one of --to and --auto"),
    "budget without auto": (["builtin", "--to", "Q8_0", "--budget", "3MB"], "--budget goes with --auto"),
    "page without auto": (["builtin", "--to", "Q8_0", "--html", "page.html"], "--html goes with --auto"),
    "no size": (["builtin", "--auto", "--budget", "much"], "is not a size"),
    "too small": (["builtin", "--auto", "--budget", "1MB"], "--budget 2.0"),
    "too large": (["builtin", "--auto", "--budget", "1GB"], "nothing need be rounded"),
    "no quality": (["builtin", "--auto", "--quality", "0"], "KL divergence"),
    "unknown text": (["builtin", "--auto", "--budget", "3MB", "--text", "no.txt"], "no.txt: No such file"),
    "binary text": (["builtin", "--auto", "--budget", "3MB", "--text", "bytes.txt"], "not UTF-8"),
    "little text": (["builtin", "--auto", "--budget", "3MB", "--text", "little.txt"], "512 are needed"),
    "no folder": (["builtin", "--auto", "--budget", "3MB", "--html", "no/page.html"], "no folder"),
    "requantize": (["builtin", "--auto", "--budget", "3MB", "--requantize"], "cannot --requantize"),
    "quantised": (["small.gguf", "--auto", "--budget", "3MB"], "quantised already"),
    "unknown model": (["nowhere", "--auto", "--budget", "3MB"], "nowhere"),
    "target exists": (["builtin", "--auto", "--budget", "3MB", "--out", "small.gguf"], "exists already"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_sentence_before_any_work(case, place, capsys, monkeypatch):
    (place / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    (place / "little.txt").write_text("A word or two.")
    arguments, words = REFUSED[case]
    if "small.gguf" in arguments:
        assert run(["quantize", "builtin", "--to", "Q8_0", "--out", "small.gguf"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(measure.Measuring, "run_reference", None)
    assert run(["quantize", *arguments]) != 0
    error = capsys.readouterr().err
    assert words in error
    assert "Internal error" not in error
    assert "Traceback" not in error


def test_too_little_memory_is_said_before_the_model_is_loaded(monkeypatch, capsys):
    from fairway.cli import quantize_auto

    monkeypatch.setattr(quantize_auto, "SPARE_BYTES", 10**15)
    monkeypatch.setattr(measure.Measuring, "run_reference", None)
    assert auto("builtin", "--budget", "3MB") == DoesNotFit.exit_code
    assert "of memory" in capsys.readouterr().err


def test_a_conversion_that_is_cut_off_goes_on(monkeypatch, capsys):
    """What was chosen is the same the second time, so what was written is kept."""
    real = Workplace.note
    noted = []

    def tired(self, checked):
        real(self, checked)
        noted.append(checked.name)
        if len(noted) == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(Workplace, "note", tired)
    assert auto("builtin", "--budget", "3MB") == 130
    assert auto("builtin", "--budget", "3MB") == 0
    assert len(noted) < 10 + 56
    capsys.readouterr()
