"""A whole native runtime without a model: real engine, worker and text, fake runner, byte tokenizer."""

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.worker import Worker
from fairway.runtimes.native import NativeRuntime
from fairway.runtimes.protocol import ModelInfo
from fairway.text.byte_tokenizer import EOS, ByteTokenizer
from fairway.text.chat_template import ChatTemplate, default_template

LETTERS = [ord(c) for c in "abcdefgh "]


def fake_runtime(runner: FakeRunner | None = None, *, max_waiting: int = 64) -> NativeRuntime:
    runner = runner or FakeRunner(vocab_size=258, likely_ids=LETTERS)
    info = ModelInfo(
        name="fake",
        path="fake",
        architecture="fake",
        num_parameters=0,
        weight_type="none",
        weight_bytes=0,
        context=runner.max_context,
        vocab_size=runner.vocab_size,
        runtime="native",
        created_s=0,
    )
    return NativeRuntime(
        info,
        Worker(Engine(runner, EngineSettings(max_waiting=max_waiting))),
        ByteTokenizer(),
        ChatTemplate(default_template()),
        SamplingParams(end_of_text_ids=frozenset({EOS})),
    )
