"""Fine-tuning jobs as the official client sees them. Checks of the data are real; training is played."""

import os
import signal

import httpx
import openai
import pytest
from scrape import Scrape
from tuning_cases import (
    ROWS,
    builtin_runtime,
    play_training,
    said,
    steps_of,
    tuning_server,
    upload,
    wait_for,
    wait_for_step,
    wait_until,
    write_adapter,
    write_rows,
)

from fairway.tune import torch_extra

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return write_adapter(tmp_path_factory.mktemp("made") / "adapter")


@pytest.fixture
def data(tmp_path):
    return write_rows(tmp_path / "training_data.jsonl")


def create(client, data, **more):
    return client.fine_tuning.jobs.create(
        **{"model": "builtin", "training_file": upload(client, data).id} | more
    )


def test_a_job_from_its_files_to_an_answer(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter)
    with tuning_server(tmp_path / "state") as (_, client):
        held_out = upload(client, write_rows(tmp_path / "held_out.jsonl", ROWS[:1]))
        job = create(
            client, data, suffix="lamps", seed=7, metadata={"who": "me"}, validation_file=held_out.id
        )
        assert (job.object, job.status, job.model, job.seed) == (
            "fine_tuning.job",
            "validating_files",
            "builtin",
            7,
        )
        assert job.hyperparameters.n_epochs == "auto"
        assert wait_for(client, job.id).status == "failed"  # what is held out is in the training data

        job = create(client, data, suffix="lamps", metadata={"who": "me"})
        done = wait_for(client, job.id)
        assert (done.status, done.error) == ("succeeded", None)
        assert done.fine_tuned_model == f"ft:builtin:lamps:{job.id[6:14]}"
        assert done.finished_at >= done.created_at
        assert done.trained_tokens == 240
        used = done.method.supervised.hyperparameters
        assert (used.n_epochs, used.batch_size, used.learning_rate_multiplier) == (25, 1, 1)
        rows = client.files.content(done.result_files[0]).text.splitlines()
        assert rows[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
        assert [row.split(",")[0] for row in rows[1:]] == list("123456")
        assert rows[1:3] == ["1,1.0,0.0,,", "2,0.5,0.5,1.0,0.5"]
        assert client.files.retrieve(done.result_files[0]).purpose == "fine-tune-results"

        messages = [each.message for each in client.fine_tuning.jobs.list_events(job.id)][::-1]
        assert messages[0] == f"Created fine-tuning job: {job.id}"
        assert messages[2:4] == [
            "Files validated, moving job to queued state",
            "Fine-tuning job started",
        ]
        assert messages[4:6] == [
            "Step 1/6: training loss=1.00",
            "Step 2/6: training loss=0.50, validation loss=1.00",
        ]
        told = [each.data for each in client.fine_tuning.jobs.list_events(job.id) if each.type == "metrics"]
        first = {"step": 1, "total_steps": 6, "train_loss": 1.0, "train_mean_token_accuracy": 0.0}
        measured = {f"{each}valid_{name}": value for each in ("", "full_")
                    for name, value in (("loss", 1.0), ("mean_token_accuracy", 0.5))}  # fmt: skip
        second = {"step": 2, "total_steps": 6, "train_loss": 0.5, "train_mean_token_accuracy": 0.5}
        assert told[::-1][:2] == [first, second | measured]
        assert messages[-2:] == [
            f"New fine-tuned model created: {done.fine_tuned_model}",
            "The job has successfully completed",
        ]
        model = client.models.retrieve(done.fine_tuned_model)
        assert (model.id, model.parent) == (done.fine_tuned_model, "builtin")
        assert said(client, done.fine_tuned_model) != said(client, "builtin")
        checkpoints = [*client.fine_tuning.jobs.checkpoints.list(job.id)]
        assert [each.step_number for each in checkpoints] == [6, 4, 2]
        assert checkpoints[1].fine_tuned_model_checkpoint == f"{done.fine_tuned_model}:ckpt-step-4"
        metrics = checkpoints[1].metrics
        assert (metrics.step, metrics.train_loss, metrics.train_mean_token_accuracy) == (4, 0.25, 0.75)
        assert (metrics.full_valid_loss, metrics.valid_mean_token_accuracy) == (0.5, 0.5)
        for each in checkpoints:
            assert said(client, each.fine_tuned_model_checkpoint) == said(client, done.fine_tuned_model)


def test_a_result_is_there_after_a_restart_until_it_is_deleted(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=3)
    state = tmp_path / "state"
    with tuning_server(state) as (_, client):
        model = wait_for(client, create(client, data).id).fine_tuned_model
        answer = said(client, model)
    with tuning_server(state) as (_, client):
        assert said(client, model) == answer
        deleted = client.models.delete(model)
        assert (deleted.id, deleted.deleted) == (model, True)
        with pytest.raises(openai.NotFoundError):
            said(client, model)
        with pytest.raises(openai.NotFoundError, match="no fine-tuned model"):
            client.models.delete(model)
        with pytest.raises(openai.PermissionDeniedError, match="not made by a fine-tuning job"):
            client.models.delete("builtin")
        assert client.fine_tuning.jobs.list().data[0].fine_tuned_model == model
    with tuning_server(state) as (_, client):
        assert model not in [each.id for each in client.models.list()]
    other = builtin_runtime("another")
    with tuning_server(state, other) as (_, client):  # the same model under another name
        model = wait_for(client, create(client, data, model="another").id).fine_tuned_model
    with tuning_server(state) as (_, client):
        assert client.models.retrieve(model).parent == "builtin"


def test_jobs_wait_for_each_other_and_the_second_begins_when_the_first_is_cancelled(
    tmp_path, data, adapter, monkeypatch
) -> None:
    play_training(monkeypatch, adapter, steps=1000, pause_s=0.05)
    with tuning_server(tmp_path / "state") as (server, client):
        first, second = create(client, data), create(client, data)
        wait_for_step(client, first.id, 2)
        waiting = wait_for(client, second.id, "queued")
        assert waiting.estimated_finish is None
        running = client.fine_tuning.jobs.retrieve(first.id)
        assert (running.status, running.finished_at) == ("running", None)
        assert running.estimated_finish > running.created_at
        seen = Scrape(server.url)
        for status in ("running", "queued"):
            assert seen("fine_tuning_jobs", status=status) == 1
        assert seen("fine_tuning_step", job=first.id, model="builtin") >= 2
        assert seen("fine_tuning_steps", job=first.id) == 1000
        assert 0 < seen("fine_tuning_loss", job=first.id) <= 0.5
        cancelled = client.fine_tuning.jobs.cancel(first.id)
        assert (cancelled.status, cancelled.estimated_finish) == ("cancelled", None)
        wait_for_step(client, second.id, 1)
        place = tmp_path / "state" / "jobs" / first.id / "run"
        assert int((place / "done.txt").read_text()) >= 2  # its checkpoint is there
        with pytest.raises(openai.BadRequestError, match=r"is cancelled and cannot be paused"):
            client.fine_tuning.jobs.pause(first.id)
        client.fine_tuning.jobs.cancel(second.id)
        seen = wait_until(lambda: Scrape(server.url), lambda seen: not seen("fine_tuning_step"))
        assert (seen("fine_tuning_jobs"), seen("fine_tuning_jobs", status="cancelled")) == (2, 2)
        assert client.fine_tuning.jobs.list(limit=1).has_more
        assert [each.id for each in client.fine_tuning.jobs.list(limit=1)] == [second.id, first.id]


def test_a_paused_job_goes_on_where_it_was(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=12, pause_s=0.1)
    with tuning_server(tmp_path / "state") as (_, client):
        job = create(client, data)
        wait_for_step(client, job.id, 3)
        assert client.fine_tuning.jobs.pause(job.id).status == "paused"
        with pytest.raises(openai.BadRequestError, match="is paused and cannot be paused"):
            client.fine_tuning.jobs.pause(job.id)
        assert client.fine_tuning.jobs.resume(job.id).status == "queued"
        assert wait_for(client, job.id).status == "succeeded"
        assert steps_of(client, job.id) == [*range(1, 13)]
        place = tmp_path / "state" / "jobs" / job.id
        with pytest.raises(openai.BadRequestError, match="is succeeded and cannot be cancelled"):
            client.fine_tuning.jobs.cancel(job.id)
        assert (place / "run" / "adapter").is_dir()


def test_a_job_outlives_a_server_that_is_stopped(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=12, pause_s=0.1)
    with tuning_server(tmp_path / "state") as (_, client):
        job, waiting = create(client, data), create(client, data)
        wait_for_step(client, job.id, 2)
    with tuning_server(tmp_path / "state") as (_, client):
        for each in (job, waiting):
            assert wait_for(client, each.id).status == "succeeded"
            assert steps_of(client, each.id) == [*range(1, 13)]


def test_training_that_is_killed_goes_on_if_it_had_progressed(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=10, pause_s=0.1)
    with tuning_server(tmp_path / "state") as (_, client):
        job = create(client, data)
        wait_for_step(client, job.id, 5)
        lock = tmp_path / "state" / "jobs" / job.id / "training.lock"
        os.kill(int(lock.read_text()), signal.SIGKILL)
        assert wait_for(client, job.id).status == "succeeded"
        assert steps_of(client, job.id) == [*range(1, 11)]


def test_training_that_fails_says_why(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, fail="The disk is full.")
    with tuning_server(tmp_path / "state") as (_, client):
        job = wait_for(client, create(client, data).id)
        assert (job.status, job.error.code, job.error.message) == (
            "failed",
            "server_error",
            "The disk is full.",
        )
        last = client.fine_tuning.jobs.list_events(job.id).data[0]
        assert (last.level, last.message) == ("error", "The job failed: The disk is full.")


@pytest.mark.parametrize(
    ("row", "said_of_it"),
    [
        ({"messages": [{"role": "user", "content": "Hi"}]}, "line 5"),
        ({"messages": [{"role": "wizard", "content": "Hi"}]}, "a role that is not known"),
        ({"prompt": "Hi"}, "not of the shape of the first row"),
    ],
)
def test_rows_that_cannot_be_learned_fail_the_job(tmp_path, adapter, monkeypatch, row, said_of_it) -> None:
    play_training(monkeypatch, adapter)
    with tuning_server(tmp_path / "state") as (_, client):
        job = wait_for(client, create(client, write_rows(tmp_path / "rows.jsonl", [*ROWS, row])).id)
        assert (job.status, job.error.code) == ("failed", "invalid_training_file")
        assert job.error.param == "training_file"
        assert said_of_it in job.error.message
        assert "rows.jsonl" in job.error.message


def test_what_cannot_be_created_is_one_sentence(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter)
    with tuning_server(tmp_path / "state") as (server, client):
        training_file = upload(client, data).id
        good = {"model": "builtin", "training_file": training_file}
        cases = [
            ({"model": "gpt-4o-mini-2024-07-18"}, 404, "model_not_found", "model"),
            ({"training_file": "file-nowhere"}, 400, "invalid_file", "training_file"),
            ({"validation_file": "file-nowhere"}, 400, "invalid_file", "validation_file"),
            ({"method": {"type": "reinforcement"}}, 400, None, "method.type"),
            ({"method": {"type": "supervised", "dpo": {}}}, 400, None, "method"),
            ({"hyperparameters": {"n_epochs": 0}}, 400, None, "hyperparameters.n_epochs"),
            ({"hyperparameters": {"epochs": 1}}, 400, None, "hyperparameters.epochs"),
            ({"integrations": [{"type": "wandb"}]}, 400, None, "integrations"),
            ({"suffix": "a:b"}, 400, None, "suffix"),
            ({"n_epochs": 3}, 400, None, "n_epochs"),
        ]
        for more, status, code, param in cases:
            answer = httpx.post(f"{server.url}/v1/fine_tuning/jobs", json=good | more)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (status, code, param), error
        twice = {
            "hyperparameters": {},
            "method": {"type": "supervised", "supervised": {"hyperparameters": {}}},
        }
        answer = httpx.post(f"{server.url}/v1/fine_tuning/jobs", json=good | twice)
        assert "given twice" in answer.json()["error"]["message"]
        with pytest.raises(openai.NotFoundError, match="no fine-tuning job"):
            client.fine_tuning.jobs.retrieve("ftjob-nowhere")
        assert client.fine_tuning.jobs.list().data == []


def test_jobs_are_found_by_their_metadata_and_page_by_page(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=1)
    with tuning_server(tmp_path / "state") as (server, client):
        made = [create(client, data, metadata={"n": str(number)}).id for number in range(3)]
        assert [each.id for each in client.fine_tuning.jobs.list(limit=2)] == made[::-1]
        assert [each.id for each in client.fine_tuning.jobs.list(metadata={"n": "1"})] == [made[1]]
        wait_for(client, made[2])
        events = [each.id for each in client.fine_tuning.jobs.list_events(made[2], limit=2)]
        assert len(events) == len(set(events)) == 7
        unknown = httpx.get(f"{server.url}/v1/fine_tuning/jobs?sort=up")
        assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "sort")


def test_without_torch_a_job_is_refused_with_what_to_install(tmp_path, data, monkeypatch) -> None:
    monkeypatch.setattr(torch_extra.importlib.util, "find_spec", lambda name: None)
    with tuning_server(tmp_path / "state") as (_, client):
        with pytest.raises(openai.APIStatusError, match=r"pip install 'fairway\[tune\]'") as refused:
            create(client, data)
        assert (refused.value.status_code, refused.value.code) == (501, "missing_extra")


def test_a_model_without_adapters_and_a_server_without_jobs(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter)
    with (
        tuning_server(tmp_path / "state", builtin_runtime(max_loras=0)) as (_, client),
        pytest.raises(openai.APIStatusError, match="takes no adapters"),
    ):
        create(client, data)
    with tuning_server(tmp_path / "none", fine_tuning=False) as (_, client):
        for ask in (lambda: upload(client, data), client.fine_tuning.jobs.list, client.files.list):
            with pytest.raises(openai.PermissionDeniedError, match="takes no files and trains no models"):
                ask()
    assert not (tmp_path / "none").exists()


def test_of_two_servers_with_one_folder_one_runs_the_jobs(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=1)
    state = tmp_path / "state"
    with tuning_server(state) as (_, client):
        model = wait_for(client, create(client, data).id).fine_tuned_model
        with tuning_server(state) as (_, other):
            with pytest.raises(openai.InternalServerError, match="Another server runs the fine-tuning jobs"):
                other.fine_tuning.jobs.list()
            assert said(other, model) == said(client, model)


def test_results_that_find_no_place_are_told(tmp_path, data, adapter, monkeypatch) -> None:
    play_training(monkeypatch, adapter, steps=1)
    with tuning_server(tmp_path / "state", builtin_runtime(max_loras=1)) as (_, client):
        first, second = (wait_for(client, create(client, data).id) for _ in range(2))
        assert second.status == "succeeded"
        warnings = [
            each.message for each in client.fine_tuning.jobs.list_events(second.id) if each.level == "warn"
        ]
        assert len(warnings) == 1
        assert "is not served: 1 adapters are loaded" in warnings[0]
        client.models.delete(first.fine_tuned_model)
    with tuning_server(tmp_path / "state", builtin_runtime(max_loras=1)) as (_, client):
        assert client.models.retrieve(second.fine_tuned_model).parent == "builtin"
