"""The roofline: sums done by hand, and what must be true of any machine."""

from dataclasses import replace

import pytest

from fairway.map.engines import engines
from fairway.map.estimate import pass_work
from fairway.map.speed import FAR_BYTES, Attention, Estimator, Load, Silicon
from fairway.models.families import read_config
from fairway.models.random import QWEN2_5_0_5B, random_bundle

SILICON = Silicon(50e9, 2e12, 1e12, 0.5e12, threads=2)
CONFIG = read_config(QWEN2_5_0_5B)
BUNDLE = random_bundle(QWEN2_5_0_5B, "bf16")
NATIVE = engines()["native"]


def estimator(weights="int8", silicon=SILICON, kv="f16", engine=NATIVE):
    work = pass_work(BUNDLE, CONFIG, weights)
    return Estimator(work, Attention.of(CONFIG, kv), CONFIG.vocab_size, silicon, engine)


def test_a_single_stream_is_bound_by_reading_the_weights():
    work = pass_work(BUNDLE, CONFIG, "int8").step(1, 1)
    assert work.weight_bytes == pytest.approx(525e6, rel=0.01)
    reading_s = work.weight_bytes / 50e9 / NATIVE.memory_share
    assert estimator().decode_step_s(1, 100) == pytest.approx(reading_s, rel=0.1)


def test_long_prompts_are_bound_by_products():
    ops = pass_work(BUNDLE, CONFIG, "int8").tokens.int8_ops * 512
    least_s = ops / 2e12
    assert least_s / 0.65 < estimator().prefill_s(512, 1) < least_s / 0.4


def test_more_of_anything_is_never_slower():
    base = estimator()
    for name in ("memory_bytes_per_s", "int8_ops_per_s", "f32_ops_per_s"):
        faster = estimator(silicon=replace(SILICON, **{name: getattr(SILICON, name) * 2}))
        assert faster.decode_step_s(8, 1000) <= base.decode_step_s(8, 1000)
        assert faster.prefill_s(512, 8) <= base.prefill_s(512, 8)


@pytest.mark.parametrize("weights", ["bf16", "int8", "int4"])
def test_batches_write_more_and_each_user_less(weights):
    alone, crowd = (estimator(weights).predict(Load(512, 128, users)) for users in (1, 16))
    assert crowd.decode_tokens_per_s > alone.decode_tokens_per_s
    assert crowd.per_user < alone.per_user
    assert 0 < crowd.output_tokens_per_s < crowd.decode_tokens_per_s


def test_fewer_bits_write_faster():
    rates = [estimator(each).predict(Load()).decode_tokens_per_s for each in ("bf16", "int8", "int4")]
    assert rates == sorted(rates)


def test_a_longer_past_costs_more_and_a_window_does_not():
    long, short = estimator().decode_step_s(1, 30_000), estimator().decode_step_s(1, 100)
    assert long > short
    windowed = replace(Attention.of(CONFIG, "f16"), windows=(256,) * CONFIG.num_layers)
    trimmed = replace(estimator(), attention=windowed)
    assert trimmed.decode_step_s(1, 30_000) == trimmed.decode_step_s(1, 300)


def test_small_weights_are_read_from_a_cache():
    near = replace(SILICON, near=((8 << 20, 200e9), (32 << 20, 100e9)))
    assert near.reading_rate(1 << 20) == 200e9
    assert near.reading_rate(32 << 20) == pytest.approx(100e9)
    assert 50e9 < near.reading_rate(48 << 20) < 100e9
    assert near.reading_rate(1 << 30) == 50e9
    assert SILICON.reading_rate(1 << 20) == 50e9


def test_sizes_that_no_cache_holds_are_not_believed():
    flattered = replace(SILICON, near=((8 << 20, 200e9), (128 << 20, 100e9)))
    assert flattered.reading_rate(128 << 20) == 50e9


def test_keys_and_values_drive_small_weights_out_of_the_cache():
    near = replace(estimator(), silicon=replace(SILICON, near=((8 << 20, 200e9), (32 << 20, 100e9))))
    work = near.work.step(1, 1)
    assert near.matrices_s(work, FAR_BYTES) >= near.matrices_s(work)


def test_a_prediction_is_json_with_its_error():
    speed = estimator().predict(Load(512, 128, 4))
    assert speed.to_dict()["error"] == NATIVE.error and speed.to_dict()["basis"] == "measured"
    assert speed.answer_s(Load(512, 128, 4)) > speed.first_token_s


def test_every_engine_names_what_the_catalogue_knows():
    from fairway.map.catalogue import load_catalogue

    catalogue = load_catalogue()
    for engine in engines().values():
        assert engine.tool in catalogue.tools
        assert not engine.format or engine.format in catalogue.formats
        assert engine.format in ("", *catalogue.tools[engine.tool].reads), engine.id
        for choice in engine.weights:
            assert choice.quantisation in catalogue.quantisations
            assert 0 < engine.with_choice(choice).memory_share <= 1
        assert 0 < engine.error < 1
