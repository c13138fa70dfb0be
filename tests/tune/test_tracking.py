"""What trackers are told, by their own libraries; and that none of them can end a training."""

import json
import sqlite3
import sys
import types

import pytest

from fairway.cli.main import run
from fairway.errors import MissingExtra, SettingsError
from fairway.tune import tracking
from fairway.tune.tracking import TrackedRun, Trackers, check_trackers


class Told:
    """A tracker that keeps what it hears, and fails when asked to."""

    def __init__(self) -> None:
        self.heard: list[tuple] = []
        self.fails = False

    def begin(self, run: TrackedRun) -> str:
        self.heard.append(("begin", run.known_id, dict(run.parameters)))
        return run.known_id or "id-1"

    def log(self, step, figures) -> None:
        if self.fails:
            raise ConnectionError("nobody there\nsecond line")
        self.heard.append((step, dict(figures)))

    def finish(self, files, *, completed) -> None:
        self.heard.append(("finish", [path.name for path in files], completed))


@pytest.fixture
def told(monkeypatch):
    """Stands in for mlflow."""
    found, module = Told(), types.ModuleType("told")
    module.tracker = lambda: found
    monkeypatch.setitem(sys.modules, "told", module)
    monkeypatch.setitem(tracking.MODULES, "mlflow", "told")
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: object())
    return found


def test_names():
    assert check_trackers(()) == ()
    assert check_trackers(("none",)) == ()
    with pytest.raises(SettingsError, match="no tracker 'tensorboard'"):
        check_trackers(("tensorboard",))


def test_a_library_that_is_missing_is_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs wandb") as error:
        check_trackers((["mlflow", "wandb"][1],))
    assert error.value.hint == "Run: pip install 'fairway[wandb]'."


def test_a_run_that_is_gone_on_with_keeps_its_id(told, tmp_path):
    for known in (None, "id-1"):
        trackers = Trackers(("mlflow,",), pytest.fail)
        trackers.begin(TrackedRun(tmp_path, {"r": 8}, {}))
        assert told.heard[-1] == ("begin", known, {"r": 8})
    trackers.log(3, {"loss": 1, "held_out_loss": None})
    trackers.finish([tmp_path, tmp_path / "none"], completed=True)
    assert told.heard[-2:] == [(3, {"loss": 1.0}), ("finish", [tmp_path.name], True)]
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"mlflow": "id-1"}


def test_a_tracker_that_fails_is_told_of_once_and_left_out(told, tmp_path):
    said: list[str] = []
    trackers = Trackers(("mlflow",), said.append)
    trackers.begin(TrackedRun(tmp_path, {}, {}))
    told.fails = True
    for step in range(3):
        trackers.log(step, {"loss": 1})
    trackers.finish([], completed=True)
    assert said == ["Note: mlflow failed and is told nothing more: ConnectionError: nobody there"]
    assert len(told.heard) == 1


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Runs a short training in an empty folder; gives the run's folder."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    rows = [{"prompt": "Who keeps the lighthouse?", "completion": "Old Marta keeps it."}]
    (tmp_path / "facts.jsonl").write_text(json.dumps(rows[0]) + "\n", "utf-8")

    def train(*flags: str):
        code = run(["tune", "builtin", "facts.jsonl", "--validation", "facts.jsonl", "--max-steps", "3",
                    "--out", "run", *flags])  # fmt: skip
        return code, tmp_path / "run"

    return train


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_parameters_figures_lineage_and_the_adapter(trained, tmp_path):
    pytest.importorskip("mlflow")
    code, folder = trained("--report-to", "mlflow", "--eval-steps", "1")
    assert code == 0
    from mlflow import MlflowClient

    [known] = json.loads((folder / "tracking.json").read_text()).values()
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    found = client.get_run(known)
    assert found.info.status == "FINISHED"
    assert (found.data.params["max_steps"], found.data.params["method"]) == ("3", "lora")
    assert found.data.tags["fairway.model_digest"].startswith("sha256:")
    assert found.data.tags["fairway.num_rows"] == "1"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "held_out_loss"):
        kept = [(each.step, each.value) for each in client.get_metric_history(known, name)]
        assert kept == [(line["step"], line[name]) for line in lines]
    names = {each.path for each in client.list_artifacts(known)}
    assert {"adapter", "loss.svg", "run.json", "recipe.toml"} <= names
    assert sqlite3.connect(tmp_path / "mlflow.db").execute("select count(*) from runs").fetchone() == (1,)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
def test_wandb_is_offline_and_has_the_run(trained, tmp_path):
    pytest.importorskip("wandb")
    code, folder = trained("--report-to", "wandb")
    assert code == 0
    [known] = json.loads((folder / "tracking.json").read_text()).values()
    [place] = tmp_path.glob("wandb/offline-run-*")
    assert place.name.endswith(known)
    [written] = place.glob("*.wandb")
    content = written.read_bytes()
    for text in (b"held_out_loss", b"fairway.model_digest", b"adapter_model.safetensors"):
        assert text in content


def test_a_missing_tracker_is_one_sentence(trained, monkeypatch, capsys):
    real = tracking.importlib.util.find_spec
    monkeypatch.setattr(
        tracking.importlib.util, "find_spec", lambda name: None if name == "wandb" else real(name)
    )
    code, folder = trained("--report-to", "wandb")
    assert code == 8
    assert "pip install 'fairway[wandb]'" in capsys.readouterr().err
    assert not folder.exists()
