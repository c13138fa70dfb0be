"""What a plan foretold beside what a command has just seen: small notes for `fairway plan --history`.

Called once per command, after the work is done. The rule: nothing here measures, delays or fails a command;
without measured limits there is no prediction of speed, and nothing is noted.
"""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from fairway.formats.bundle import Bundle
from fairway.kernels.extension import native_isas
from fairway.map.engines import engines
from fairway.map.estimate import pass_work
from fairway.map.history import Subject, note
from fairway.map.known_limits import known_limits
from fairway.map.plan import Plan
from fairway.map.speed import Attention, Estimator, Load, Silicon, Speed
from fairway.models.families import read_config

NATIVE = "native"
ANSWER = "answer_tokens_per_s"
HUGE_PAGE_BYTES = 2 << 20
HANDED_OVER_S = 2.5e-4
"""From the engine's thread to a reader, as text: measured with the built-in model on a quiet machine."""


def foretold(bundle: Bundle, plan: Plan, load: Load, silicon: Silicon) -> Speed:
    """What the estimator says of this very plan."""
    config = read_config(bundle.config, bundle.config_name)
    return Estimator(
        work=pass_work(bundle, config, plan.weight_type),
        attention=Attention.of(config, plan.kv_type),
        vocab_size=config.vocab_size,
        silicon=silicon,
        engine=engines()[NATIVE].with_weights(plan.weight_type),
    ).predict(load)


def remember_speed(
    command: str, name: str, bundle: Bundle, plan: Plan, load: Load, measured: Mapping[str, float]
) -> None:
    """`measured` by the names of `Speed`'s fields."""
    known = known_limits(plan.machine)
    if known is None or not _is_usual(plan):
        return
    speed = foretold(bundle, plan, load, known.silicon())
    predicted = {
        "prefill_tokens_per_s": speed.prefill_tokens_per_s,
        "decode_tokens_per_s": speed.decode_tokens_per_s,
        "output_tokens_per_s": speed.output_tokens_per_s,
        "first_token_s": speed.first_token_s,
    }
    note(_subject(command, name, plan, load.users), predicted, measured)


def remember_answer(
    command: str, name: str, bundle: Bundle, plan: Plan, load: Load, tokens_per_s: float
) -> None:
    """Of one answer as its reader sees it: every token is also handed over and made text."""
    known = known_limits(plan.machine)
    if known is None or not _is_usual(plan):
        return
    speed = foretold(bundle, plan, load, known.silicon())
    predicted = 1 / (1 / speed.decode_tokens_per_s + HANDED_OVER_S)
    note(_subject(command, name, plan, 1), {ANSWER: predicted}, {ANSWER: tokens_per_s})


def remember_memory(command: str, name: str, bundle: Bundle, plan: Plan, blocks_held: int) -> None:
    """What this process holds, beside what is planned for as much of the cache as was filled."""
    resident = psutil.Process().memory_info().rss
    layers = read_config(bundle.config, bundle.config_name).num_layers
    predicted = plan.need.total_bytes - plan.need.kv_bytes + _filled_bytes(plan, layers, blocks_held)
    note(_subject(command, name, plan, 1), {"memory_bytes": predicted}, {"memory_bytes": resident})


def _filled_bytes(plan: Plan, layers: int, blocks_held: int) -> int:
    """Keys and values of each layer are a region of their own, which the system fills by huge pages."""
    share = plan.need.kv_bytes * blocks_held // max(1, plan.num_blocks)
    return min(plan.need.kv_bytes, max(share, 2 * layers * HUGE_PAGE_BYTES)) if blocks_held else 0


def _is_usual(plan: Plan) -> bool:
    """Limits are those of all cores and the best kernels; anything else is not compared with them."""
    return plan.threads == plan.machine.num_cores and plan.isa in native_isas()[:1]


def _subject(command: str, name: str, plan: Plan, batch: int) -> Subject:
    return Subject(command, plan.machine, name, NATIVE, plan.weight_type, batch)
