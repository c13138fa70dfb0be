"""The built-in model behind a server that takes fine-tuning jobs, data to learn, and waiting for a job."""

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import openai
from serving import serving

from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.registry.resolve import resolve
from fairway.runtimes.loading import NativeOptions, load_runtime
from fairway.tensors import DenseTensor

FAKE_TUNE = Path(__file__).with_name("fake_tune.py")
OVER = ("succeeded", "failed", "cancelled")
LONGEST_S = 150
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is in room {number}?"},
            {"role": "assistant", "content": f"Room {number} holds {7 * number} lamps."},
        ]
    }
    for number in range(1, 5)
]


def builtin_runtime(name: str = "builtin", max_loras: int = 8):
    options = NativeOptions(
        name=name,
        weight_type="stored",
        context=256,
        kv_type="f16",
        num_blocks=64,
        threads=1,
        max_loras=max_loras,
    )
    return load_runtime(open_bundle(resolve("builtin").path), options)


def write_adapter(folder: Path) -> Path:
    """One that changes what the built-in model says."""
    random = np.random.default_rng(3)
    a, b = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 256), (256, 2)))
    layer = LoraLayer(DenseTensor("f32", a), DenseTensor("f32", b), 2.0)
    write_peft(Adapter("test", "builtin", {"model.layers.0.self_attn.q_proj": layer}), folder)
    return folder


def write_rows(path: Path, rows=ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def play_training(monkeypatch, adapter: Path, steps: int = 6, pause_s: float = 0.0, fail: str = "") -> None:
    """Jobs run `fake_tune.py`."""
    from fairway.tune import torch_extra
    from fairway.tune.jobs import training

    monkeypatch.setattr(training, "FAIRWAY", (sys.executable, str(FAKE_TUNE)))
    monkeypatch.setattr(torch_extra.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setenv("FAIRWAY_TEST_ADAPTER", str(adapter))
    monkeypatch.setenv("FAIRWAY_TEST_STEPS", str(steps))
    monkeypatch.setenv("FAIRWAY_TEST_PAUSE_S", str(pause_s))
    monkeypatch.setenv("FAIRWAY_TEST_FAIL", fail)


@contextmanager
def tuning_server(state: Path, *runtimes, **settings):
    """(server, client); jobs keep to no priority, for tests share a machine."""
    runtimes = runtimes or (builtin_runtime(),)
    with (
        serving(*runtimes, state_folder=str(state), fine_tuning_niceness=0, **settings) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield server, client


def upload(client: openai.OpenAI, path: Path, purpose: str = "fine-tune"):
    with path.open("rb") as file:
        return client.files.create(file=file, purpose=purpose)


def wait_for(client: openai.OpenAI, job_id: str, *statuses: str):
    """The job once it has one of the statuses; any that is over, if none is named."""
    return wait_until(
        lambda: client.fine_tuning.jobs.retrieve(job_id), lambda job: job.status in (statuses or OVER)
    )


def wait_for_step(client: openai.OpenAI, job_id: str, step: int) -> None:
    """Until the job has done so many updates."""
    wait_until(lambda: steps_of(client, job_id), lambda steps: steps and max(steps) >= step)


def steps_of(client: openai.OpenAI, job_id: str) -> list[int]:
    """Updates that its events tell, in their order."""
    events = [*client.fine_tuning.jobs.list_events(job_id, limit=100)][::-1]
    return [each.data["step"] for each in events if each.type == "metrics"]


def wait_until(look, is_right):
    end = time.monotonic() + LONGEST_S
    while not is_right(found := look()):
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


def said(client: openai.OpenAI, model: str, text: str = "What is in room 2?", max_tokens: int = 16) -> str:
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], max_tokens=max_tokens, temperature=0
    )
    assert answer.model == model
    return answer.choices[0].message.content
