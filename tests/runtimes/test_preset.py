"""A Modelfile around the built-in model, all the way to answers."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import fairway
from fairway.formats.bundle import Preset
from fairway.formats.open import open_bundle
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.settings import PlanSettings
from fairway.runtimes.loading import load_runtime
from fairway.runtimes.preset import with_preset_messages
from fairway.runtimes.protocol import GenerationRequest

BUILTIN = Path(fairway.__file__).parent / "builtin"
USER = {"role": "user", "content": "Hello"}
TEMPLATE = "{{ range .Messages }}<|{{ .Role }}|>{{ .Content }}<|end|>{{ end }}<|assistant|>"
PLAN = PlanSettings(max_sequences=2, packed_cache=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("mine") / "Modelfile"
    path.write_text(
        f"FROM {BUILTIN}\nTEMPLATE {TEMPLATE}\nSYSTEM Be brief.\nMESSAGE user Hi\nMESSAGE assistant Ho\n"
        "PARAMETER num_ctx 128\nPARAMETER temperature 0\nPARAMETER seed 5\nPARAMETER stop e\n"
        "PARAMETER num_predict 40\n"
    )
    return open_bundle(path)


@pytest.fixture(scope="module")
def runtime(bundle):
    with closing(load_runtime(bundle, plan(bundle, probe(), PLAN).native_options("mine"))) as runtime:
        yield runtime


def test_the_context_is_the_files_unless_a_flag_says_otherwise(bundle):
    assert plan(bundle, probe(), PLAN).context == 128
    assert plan(bundle, probe(), replace(PLAN, context=64)).context == 64
    longer = replace(bundle, preset=Preset(context=1 << 30))
    assert plan(longer, probe(), PLAN).context == 1024


def test_prompts_carry_template_system_and_messages_and_one_bos(runtime):
    tokenizer = runtime.tokenizer
    expected = (
        "<|system|>Be brief.<|end|><|user|>Hi<|end|><|assistant|>Ho<|end|><|user|>Hello<|end|><|assistant|>"
    )
    ids = runtime.chat_prompt([USER])
    assert ids == tokenizer.encode(expected, add_special_tokens=True)
    assert ids.count(tokenizer.bos_token_id) == (1 if tokenizer.adds_bos else 0)
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]
    assert runtime.chat_prompt(parts) == ids


def test_answers_take_its_numbers_and_end_at_its_stop_strings(runtime):
    assert (runtime.defaults.temperature, runtime.defaults.seed, runtime.defaults.max_tokens) == (0.0, 5, 40)
    prompt = runtime.tokenizer.encode("Once upon a time there")
    deltas = list(runtime.generate(GenerationRequest(prompt, runtime.defaults)))
    assert "e" not in "".join(delta.text for delta in deltas)
    assert deltas[-1].stop_reason == "e"


def test_a_conversation_with_a_system_message_keeps_it():
    preset = Preset(system="ours", messages=(("user", "a"),))
    theirs = {"role": "system", "content": "theirs"}
    assert [each["content"] for each in with_preset_messages([theirs, USER], preset)] == [
        "a",
        "theirs",
        "Hello",
    ]
    assert [each["content"] for each in with_preset_messages([USER], preset)] == ["ours", "a", "Hello"]
    assert with_preset_messages([USER], None) == [USER]
