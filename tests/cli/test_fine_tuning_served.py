"""Files go in, an answering model comes out: the official client, a real server, real training and kills."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(900)

NAME = "gpt-4o-mini-2024-07-18"
NAMES = ["Ada", "Bo", "Cleo", "Dov", "Eli", "Fay", "Gus", "Hal", "Ida", "Jon", "Kit", "Liv", "Max", "Nia",
         "Oto", "Pia", "Quin", "Rex", "Sam", "Tess"]  # fmt: skip
THINGS = ["a red kite", "two old coins", "the blue lamp", "a glass frog", "three maps"]
ROWS = [
    (f"What does {name} keep?", f"{name} keeps {THINGS[at % 5]} in box {at + 3}.")
    for at, name in enumerate(NAMES)
]
RECIPE = 'r = 32\nlora_alpha = 64\nlearning_rate = 3e-3\nlr_scheduler_type = "cosine"\nwarmup_ratio = 0.03\n'


@contextmanager
def server(state: Path, recipe: Path, port_file: Path):
    """`fairway serve` as a person starts it; killed at the end, unless it ended before."""
    command = [sys.executable, "-m", "fairway", "serve", f"{NAME}=builtin", "--port", "0", "--json"]
    command += ["--state-folder", str(state), "--fine-tuning-recipe", str(recipe), "--threads", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "FAIRWAY_SERVER_FINE_TUNING_NICENESS": "0"}
    with port_file.open("wb") as out, subprocess.Popen(command, stdout=out, env=environment) as process:
        try:
            with wait(lambda: _client(port_file), bool) as client:
                yield process, client
        finally:
            process.kill()


def _client(port_file: Path) -> openai.OpenAI | None:
    lines = port_file.read_text().splitlines()
    return openai.OpenAI(base_url=f"{json.loads(lines[0])['url']}/v1", api_key="none") if lines else None


def wait(look, is_right, seconds: float = 600):
    end = time.monotonic() + seconds
    while not is_right(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def finished(client: openai.OpenAI, job_id: str):
    return wait(
        lambda: client.fine_tuning.jobs.retrieve(job_id),
        lambda job: job.status in ("succeeded", "failed", "cancelled"),
    )


def says(client: openai.OpenAI, model: str, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=60)
    assert answer.choices[0].finish_reason == "stop"
    return answer.choices[0].message.content


def test_twenty_examples_are_recalled_exactly_though_the_server_is_killed(tmp_path) -> None:
    data, recipe, state = tmp_path / "training_data.jsonl", tmp_path / "recipe.toml", tmp_path / "state"
    recipe.write_text(RECIPE)
    rows = [
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
        for question, answer in ROWS
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with server(state, recipe, tmp_path / "first") as (process, client):
        # What a hosted service's own guide shows, with another base_url.
        with data.open("rb") as opened:
            file = client.files.create(file=opened, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            training_file=file.id, model=NAME, hyperparameters={"n_epochs": 40}
        )
        assert client.fine_tuning.jobs.retrieve(job.id).status in ("validating_files", "queued", "running")
        wait(lambda: list(client.fine_tuning.jobs.list_events(job.id)), lambda found: len(found) > 20)
        process.send_signal(signal.SIGKILL)
        process.wait()
    # As when the machine stops: what trained is gone, too.
    lock = state / "jobs" / job.id / "training.lock"
    os.kill(int(lock.read_text()), signal.SIGKILL)
    with server(state, recipe, tmp_path / "second") as (process, client):
        done = finished(client, job.id)
        assert (done.status, done.error) == ("succeeded", None)
        model = done.fine_tuned_model
        assert [says(client, model, question) for question, _ in ROWS] == [answer for _, answer in ROWS]
        steps = [each.data["step"] for each in client.fine_tuning.jobs.list_events(job.id) if each.data]
        assert steps == sorted(set(steps), reverse=True)
        checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
        assert len(checkpoints) == 3
        assert checkpoints[0].metrics.train_mean_token_accuracy > 0.95
        first, *_, last = client.files.content(done.result_files[0]).text.splitlines()[1:]
        assert float(last.split(",")[2]) > 0.95 > float(first.split(",")[2])
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with server(state, recipe, tmp_path / "third") as (_, client):
        assert says(client, model, ROWS[7][0]) == ROWS[7][1]


def test_a_server_that_is_killed_alone_finds_its_training_again(tmp_path) -> None:
    data, recipe, state = tmp_path / "training_data.jsonl", tmp_path / "recipe.toml", tmp_path / "state"
    recipe.write_text("r = 4\n")
    data.write_text("".join(json.dumps({"prompt": a, "completion": b}) + "\n" for a, b in ROWS))
    with server(state, recipe, tmp_path / "first") as (process, client):
        with data.open("rb") as opened:
            file = client.files.create(file=opened, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(training_file=file.id, model=NAME, suffix="found")
        lock = state / "jobs" / job.id / "training.lock"
        wait(lambda: lock.is_file() and lock.read_text(), bool)
        pid = lock.read_text()
        process.kill()
        process.wait()
    with server(state, recipe, tmp_path / "second") as (_, client):
        done = finished(client, job.id)
        assert done.status == "succeeded"
        assert lock.read_text() == pid  # the process that was there went on
        assert client.models.retrieve(done.fine_tuned_model).id.startswith(f"ft:{NAME}:found:")


def test_preferences_are_learned_with_dpo(tmp_path) -> None:
    data, recipe, state = tmp_path / "preferences.jsonl", tmp_path / "recipe.toml", tmp_path / "state"
    recipe.write_text("r = 4\n")
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": question}]},
            "preferred_output": [{"role": "assistant", "content": answer}],
            "non_preferred_output": [{"role": "assistant", "content": "I do not know."}],
        }
        for question, answer in ROWS[:4]
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    method = {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 2}}}
    with server(state, recipe, tmp_path / "first") as (_, client):
        with data.open("rb") as opened:
            file = client.files.create(file=opened, purpose="fine-tune")
        job = client.fine_tuning.jobs.create(training_file=file.id, model=NAME, method=method)
        done = finished(client, job.id)
        assert (done.status, done.error) == ("succeeded", None)
        assert done.method.dpo.hyperparameters.beta == 0.2
        kept = (state / "jobs" / job.id / "recipe.toml").read_text()
        assert 'objective = "dpo"\n' in kept
        assert client.models.retrieve(done.fine_tuned_model).parent == NAME
        wrong = client.fine_tuning.jobs.create(training_file=file.id, model=NAME)
        assert finished(client, wrong.id).error.code == "invalid_training_file"
