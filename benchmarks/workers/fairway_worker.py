"""Fairway's own engine, stepped directly as `fairway bench` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from frame import Prompts, Settings, Times, serve

import fairway
from fairway.formats.open import open_bundle
from fairway.map.measure import Run
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.settings import PlanSettings
from fairway.runtimes.loading import load_engine


class Fairway:
    def __init__(self, settings: Settings) -> None:
        wanted = PlanSettings(
            weights=settings.variant,
            threads=settings.threads,
            context=settings.length,
            max_sequences=settings.sequences,
        )
        bundle = open_bundle(Path(settings.model))
        planned = plan(bundle, probe(), wanted).native_options("benchmark")
        options = replace(planned, num_blocks=-(-settings.cache_tokens // planned.block_size))
        loaded = load_engine(bundle, options)
        self.engine, self.weight_bytes = loaded.engine, loaded.model.weight_bytes
        cache = loaded.model.cache_shape(options.num_blocks, options.block_size, type=options.kv_type)
        self.kv_bytes = cache.num_bytes
        self.version = fairway.__version__

    def run(self, prompts: Prompts, num_tokens: int) -> Times:
        done = Run(self.engine, prompts, num_tokens)
        return Times(done.whole_s - done.after_first_s, done.after_first_s, done.num_after_first)


if __name__ == "__main__":
    serve(Fairway)
