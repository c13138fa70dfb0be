"""The real stack without a model: native runtime, worker, engine, scheduler, cache, byte tokenizer.

Only the runner is a fake: its tokens are deterministic letters, as fast or slow as a test needs.
"""

from __future__ import annotations

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.worker import Worker
from fairway.runtimes.native import NativeRuntime
from fairway.runtimes.protocol import ModelInfo
from fairway.text.byte_tokenizer import EOS, ByteTokenizer
from fairway.text.chat_template import ChatTemplate

TEMPLATE = (
    "{{ bos_token }}{% if tools %}[tools: {{ tools | tojson }}]\n{% endif %}"
    "{% if mood %}[mood: {{ mood }}]\n{% endif %}"
    "{% if reasoning_effort %}[effort: {{ reasoning_effort }}]\n{% endif %}"
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n"
    "{% for call in message.tool_calls %}{% set function = call.function %}"
    "calls {{ function.name }}({{ function.arguments | tojson }})\n{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
LETTERS = b"abcdefghijklmnopqrstuvwxyz     "


def make_runtime(
    name: str = "letters",
    *,
    step_latency_s: float = 0.0,
    context: int = 2048,
    num_blocks: int = 512,
    max_sequences: int = 32,
    max_waiting: int = 1024,
    template: str = TEMPLATE,
    ends: bool = False,
) -> NativeRuntime:
    """`ends`: whether the model ever likes to end an answer by itself."""
    likely = sorted(set(LETTERS)) + ([EOS] if ends else [])
    runner = FakeRunner(
        vocab_size=258,
        max_context=context,
        num_blocks=num_blocks,
        max_sequences=max_sequences,
        step_latency_s=step_latency_s,
        likely_ids=likely,
    )
    return NativeRuntime(
        info=_info(name, context),
        worker=Worker(Engine(runner, EngineSettings(max_waiting=max_waiting))),
        tokenizer=ByteTokenizer(),
        template=ChatTemplate(template, bos_token="<s>", eos_token="</s>"),
        defaults=SamplingParams(end_of_text_ids=frozenset({EOS})),
    )


def _info(name: str, context: int) -> ModelInfo:
    return ModelInfo(
        name=name,
        path="/models/letters",
        architecture="fake",
        num_parameters=258,
        weight_type="f32",
        weight_bytes=1032,
        context=context,
        vocab_size=258,
        runtime="native",
        created_s=1_700_000_000,
    )
