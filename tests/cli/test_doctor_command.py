"""`fairway doctor` and its checklist, on the screen and as JSON."""

import json

import pytest

from fairway.cli import main
from fairway.server.app import create_app
from fairway.server.model_table import ModelTable
from fairway.server.run import ServerThread
from fairway.server.settings import ServerSettings


def run(capsys, *args):
    code = main.run(["doctor", *args])
    return code, capsys.readouterr().out


def test_the_doctor(capsys):
    code, out = run(capsys)
    for word in ("Machine", "processor", "Installation", "kernels", "settings", "catalogue"):
        assert word in out
    code, out = run(capsys, "--json")
    states = {each["name"]: each["state"] for each in json.loads(out)}
    assert states["version"] == "ok" and code == (1 if "wrong" in states.values() else 0)


def test_a_wrong_setting_is_found(capsys, monkeypatch):
    monkeypatch.setenv("FAIRWAY_ENGINE_KV", "f64")
    code, out = run(capsys)
    assert code == 1 and "f64" in out and "to set right" in out


def test_a_wrong_catalogue_is_found(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "fairway" / "catalogue"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text("[hardware.mine]\nname = 3\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    code, out = run(capsys)
    assert code == 1 and "mine.toml" in out


@pytest.mark.parametrize("url", ["notaurl", "http://", "ftp://x", "http://127.0.0.1:99999", "http://["])
def test_what_is_no_address_is_refused(capsys, url):
    code = main.run(["doctor", "--production", "--url", url])
    assert code == 2 and f"--url {url} is no address of a server." in capsys.readouterr().err


def test_an_address_without_the_checklist_is_not_ignored(capsys):
    assert main.run(["doctor", "--url", "http://127.0.0.1:1"]) == 2
    assert "are for --production" in capsys.readouterr().err


def test_the_checklist_without_a_server(capsys):
    code, out = run(capsys, "--production", "--url", "http://127.0.0.1:1")
    assert code == 0 and "0 of 6 boxes are ticked." in out


@pytest.mark.filterwarnings("ignore")
def test_the_checklist_asks_a_running_server(capsys):
    with ServerThread(create_app(ModelTable({}), ServerSettings(port=0))) as server:
        code, out = run(capsys, "--production", "--url", server.url, "--json")
    boxes = {each["name"]: each for each in json.loads(out)}
    assert code == 0 and len(boxes) == 6
    assert (
        boxes["Health checks"]["state"] in ("done", "partly")
        and "/health" in boxes["Health checks"]["evidence"]
    )
    assert "latency and errors" in boxes["Monitoring"]["evidence"]
    assert boxes["Autoscaling"]["state"] == "missing"
