"""The native runtime: our own engine, with the text around it that makes it answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.token_stream import TokenStream
from fairway.engine.worker import Worker
from fairway.errors import FairwayError, ModelNotFound, RequestError
from fairway.formats.bundle import Preset
from fairway.runtimes.adapters import AdapterInfo, AdapterTable
from fairway.runtimes.generation import NativeGeneration
from fairway.runtimes.preset import with_preset_messages, with_preset_stops
from fairway.runtimes.protocol import GenerationRequest, ModelInfo, RuntimeStats
from fairway.text.chat_template import ChatTemplate
from fairway.text.tokenizer import Tokenizer


class NativeRuntime:
    """`runtimes.protocol.Runtime` over a worker, a tokenizer and a template."""

    def __init__(
        self,
        info: ModelInfo,
        worker: Worker,
        tokenizer: Tokenizer,
        template: ChatTemplate,
        defaults: SamplingParams,
        preset: Preset | None = None,
        adapters: AdapterTable | None = None,
    ) -> None:
        self.info = info
        self.tokenizer = tokenizer
        self.defaults = defaults
        self._worker = worker
        self._template = template
        self._preset = preset
        self.adapters = adapters
        """None: this runtime takes none."""

    def chat_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: Any,  # noqa: ANN401
    ) -> list[int]:
        """Ids of the rendered conversation. The template writes BOS itself, so none is added."""
        messages = with_preset_messages(messages, self._preset)
        if not self._template.takes_parts:
            messages = [_with_joined_parts(message) for message in messages]
        text = self._template.render(messages, tools=tools, **variables)
        return self.tokenizer.encode(text, add_special_tokens=False)

    def generate(self, request: GenerationRequest) -> NativeGeneration:
        """Queues one engine request per answer; all or none are accepted."""
        self._refuse(request)
        request = with_preset_stops(request, self._preset)
        requests = _engine_requests(request, self._adapter(request.adapter))
        return NativeGeneration(request, self._submit(requests), self.tokenizer)

    def stats(self) -> RuntimeStats:
        return self._worker.stats()

    def close(self) -> None:
        """Ends what runs with finish reason "abort" and frees the memory."""
        self._worker.close()

    def _adapter(self, adapter: str) -> AdapterInfo | None:
        if not adapter:
            return None
        if self.adapters is None:
            raise ModelNotFound(
                f"This model takes no adapters, so there is no {adapter[:80]!r}.", param="model"
            )
        return self.adapters.find(adapter)

    def _submit(self, requests: Sequence[Request]) -> list[TokenStream]:
        streams: list[TokenStream] = []
        try:
            for each in requests:
                streams.append(self._worker.submit(each))
        except FairwayError:
            for stream in streams:
                stream.cancel()
            raise
        return streams

    def _refuse(self, request: GenerationRequest) -> None:
        if not request.prompt_ids:
            raise RequestError("The prompt is empty: it has no tokens.", param="prompt")
        top = max(request.prompt_ids)
        if top >= self.info.vocab_size or min(request.prompt_ids) < 0:
            raise RequestError(
                f"Token id {top} is outside the vocabulary of {self.info.vocab_size} tokens.", param="prompt"
            )


def _with_joined_parts(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Text parts as one string, for templates written before content could be a list."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    return {**message, "content": "".join(part["text"] for part in content)}


def _engine_requests(request: GenerationRequest, adapter: AdapterInfo | None) -> list[Request]:
    """Answer i of n draws with seed + i, so that each is reproducible by itself."""
    identity, num_virtual = ("", 0) if adapter is None else (adapter.identity, adapter.num_virtual_tokens)
    requests = []
    for index in range(request.num_answers):
        sampling = request.sampling
        if sampling.seed is not None and index:
            sampling = replace(sampling, seed=sampling.seed + index)
        requests.append(Request(request.prompt_ids, sampling, adapter=identity, num_virtual=num_virtual))
    return requests
