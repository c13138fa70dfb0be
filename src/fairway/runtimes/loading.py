"""The whole way from a bundle to something that answers on our own kernels and engine.

Tokenizer, template, weights, cache, runner, worker, in this order. It decides nothing:
`map.planner` did, and its decisions arrive as `NativeOptions`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fairway.engine.engine import Engine
from fairway.engine.limits import EngineSettings
from fairway.engine.sampling_params import SamplingParams
from fairway.engine.worker import Worker
from fairway.errors import FormatError
from fairway.formats.bundle import Bundle, Preset
from fairway.kernels.program import CacheType, Limits
from fairway.kernels.select import select_backend
from fairway.models.loader import Model, load_model
from fairway.runtimes.adapters import AdapterTable, opener
from fairway.runtimes.heap import release_unused
from fairway.runtimes.model_runner import ModelRunner
from fairway.runtimes.native import NativeRuntime
from fairway.runtimes.protocol import ModelInfo
from fairway.text.loader import load_template, load_tokenizer
from fairway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from fairway.models.packed_cache import PackedCache

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (done, total, what) while weights are prepared."""
Note: TypeAlias = Callable[[str], None]
"""Called with one line that the user should read."""

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class NativeOptions:
    """How to run a bundle. The planner fills it; every field is a decision already made."""

    name: str
    weight_type: str
    context: int
    kv_type: CacheType
    num_blocks: int
    block_size: int = 16
    threads: int | None = None
    """None: one per core this process may use."""
    max_tokens_per_step: int = 512
    max_sequences: int = 64
    max_waiting: int = 1024
    enable_prefix_caching: bool = True
    isa: str = "auto"
    cache_folder: Path | None = None
    """Where packed weights are kept; None: nowhere."""
    cache_bytes: int = 0
    """The most that they may take there."""
    max_loras: int = 0
    """Adapters that may be loaded at a time; 0: the model takes none."""
    max_lora_rank: int = 64


@dataclass(frozen=True)
class Loaded:
    """A model packed and an engine around it that nobody works yet; benchmarks step it themselves."""

    bundle: Bundle
    options: NativeOptions
    tokenizer: Tokenizer
    model: Model
    engine: Engine
    runner: ModelRunner


def load_engine(
    bundle: Bundle,
    options: NativeOptions,
    progress: Progress | None = None,
    note: Note = LOG.warning,
    tokenizer: Tokenizer | None = None,
) -> Loaded:
    """Prepares the weights. Raises before reading weights what cannot run; `note` is told in a line
    what went wrong without harm. `tokenizer`: the bundle's, where it is read already."""
    tokenizer = tokenizer or _tokenizer(bundle)
    backend = select_backend(options.isa, options.threads)
    model = load_model(
        replace(bundle, name=options.name),
        backend,
        weight_type=options.weight_type,
        context=options.context,
        progress=progress,
        cache=_packed_cache(options, note),
        takes_adapters=options.max_loras > 0,
    )
    cache = model.cache_shape(options.num_blocks, options.block_size, type=options.kv_type)
    limits = _limits(options)
    runner = ModelRunner(model, cache, limits, vocab_size=tokenizer.vocab_size)
    settings = EngineSettings(
        max_waiting=options.max_waiting, enable_prefix_caching=options.enable_prefix_caching
    )
    engine = Engine(runner, settings)
    return Loaded(bundle, options, tokenizer, model, engine, runner)


def runtime_over(loaded: Loaded) -> NativeRuntime:
    """Starts the worker, who owns the engine from now on."""
    worker = Worker(loaded.engine)
    return NativeRuntime(
        info=_info(loaded.bundle, loaded.model, loaded.options),
        worker=worker,
        tokenizer=loaded.tokenizer,
        template=load_template(loaded.bundle.chat_template, loaded.tokenizer),
        defaults=_defaults(loaded.bundle),
        preset=loaded.bundle.preset,
        adapters=_adapters(loaded, worker),
    )


def load_runtime(
    bundle: Bundle, options: NativeOptions, progress: Progress | None = None, note: Note = LOG.warning
) -> NativeRuntime:
    """The whole way: prepares the weights and starts the worker."""
    runtime = runtime_over(load_engine(bundle, options, progress, note))
    release_unused()
    return runtime


def _adapters(loaded: Loaded, worker: Worker) -> AdapterTable | None:
    options = loaded.options
    if not options.max_loras:
        return None
    open_adapter = opener(
        loaded.bundle.config, loaded.model, loaded.runner.pack_adapter, options.max_lora_rank
    )
    return AdapterTable(worker, open_adapter, options.max_loras)


def _packed_cache(options: NativeOptions, note: Note) -> PackedCache | None:
    if options.cache_folder is None:
        return None
    from fairway.models.packed_cache import PackedCache

    return PackedCache(options.cache_folder, options.cache_bytes, note)


def _tokenizer(bundle: Bundle) -> Tokenizer:
    if bundle.tokenizer is None:
        raise FormatError(
            f"{bundle.path} has no tokenizer.", hint="Put tokenizer.json beside the weights and try again."
        )
    return load_tokenizer(bundle.tokenizer)


def _limits(options: NativeOptions) -> Limits:
    """One row of logits per sequence; prompt log probabilities take the rows that are left."""
    return Limits(
        max_tokens=options.max_tokens_per_step,
        max_sequences=options.max_sequences,
        max_outputs=options.max_sequences,
    )


def _info(bundle: Bundle, model: Model, options: NativeOptions) -> ModelInfo:
    return ModelInfo(
        name=options.name,
        path=str(bundle.path),
        architecture=model.config.model_type,
        num_parameters=model.num_parameters,
        weight_type=model.weight_type,
        weight_bytes=model.weight_bytes,
        context=model.max_context,
        vocab_size=model.vocab_size,
        runtime="native",
        created_s=int(time.time()),
        has_chat_template=bundle.chat_template is not None,
    )


def _defaults(bundle: Bundle) -> SamplingParams:
    stated, preset = bundle.generation, bundle.preset or Preset()
    given = {
        "temperature": stated.temperature,
        "top_k": stated.top_k,
        "top_p": stated.top_p,
        "min_p": stated.min_p,
        "repetition_penalty": stated.repetition_penalty,
        "max_tokens": stated.max_tokens,
        "seed": preset.seed,
        "presence_penalty": preset.presence_penalty,
        "frequency_penalty": preset.frequency_penalty,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    return SamplingParams(**chosen, end_of_text_ids=frozenset(bundle.end_of_text_ids))  # type: ignore[arg-type]
