"""What is remembered between runs: limits under a fingerprint, predictions beside what was measured."""

from dataclasses import replace

import pytest

from fairway.kernels.machine_limits import MachineLimits
from fairway.kernels.select import why_reference
from fairway.map.history import Comparison, Corrections, Subject, comparisons, corrections_for, note
from fairway.map.known_limits import (
    FILE_NAME,
    KnownLimits,
    fingerprint,
    known_limits,
    measure_and_keep,
)
from fairway.map.probe import Machine
from fairway.map.speed import Speed
from fairway.map.state import append_line, read_lines, read_state, state_folder, write_state

GB = 10**9
MACHINE = Machine("Linux", "x86_64", "a processor", frozenset({"avx2"}), 8, 32 * GB, 24 * GB, 100 * GB)
LIMITS = KnownLimits(MachineLimits(8, 50e9, 2e12, 0.5e12), ((8 << 20, 200e9),), "2026-11-20T20:00:00Z")
SPEED = Speed(0.5, 1000.0, 100.0, 80.0, 0.2, "measured")


def test_where_it_lies(monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/some/state")
    assert str(state_folder()) == "/some/state/fairway"
    assert state_folder({}).name == "fairway"


def test_broken_and_unwritable_state_is_no_error(tmp_path):
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text("[1]")
    (tmp_path / "c.jsonl").write_text('{"a": 1}\n{"b": \n[2]\n{"c": 3}\n')
    assert read_state(tmp_path / "a.json") == read_state(tmp_path / "b.json") == {}
    assert read_state(tmp_path / "none.json") == {}
    assert list(read_lines(tmp_path / "c.jsonl")) == [{"a": 1}, {"c": 3}]
    assert list(read_lines(tmp_path / "none")) == []
    (tmp_path / "file").write_text("")
    assert not write_state(tmp_path / "file" / "x.json", {})
    append_line(tmp_path / "file" / "x.jsonl", {})


def test_limits_belong_to_one_machine(tmp_path):
    write_state(tmp_path / FILE_NAME, {fingerprint(MACHINE): LIMITS.to_dict()})
    assert known_limits(MACHINE, tmp_path) == LIMITS
    assert known_limits(replace(MACHINE, num_cores=4), tmp_path) is None
    assert known_limits(replace(MACHINE, memory_free_bytes=GB), tmp_path) == LIMITS
    write_state(tmp_path / FILE_NAME, {fingerprint(MACHINE): {"limits": {}}})
    assert known_limits(MACHINE, tmp_path) is None


def test_silicon_of_a_processor_without_bfloat16():
    silicon = LIMITS.silicon()
    assert silicon.bf16_ops_per_s == silicon.f32_ops_per_s == 0.5e12 and silicon.threads == 8


@pytest.mark.skipif(why_reference() is not None, reason="the reference has no limits")
def test_measured_limits_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("fairway.map.known_limits.QUICK_PASSES", 2)
    monkeypatch.setattr("fairway.map.known_limits.NEAR_TOTAL", 128 << 20)
    measured = measure_and_keep(MACHINE, tmp_path)
    assert known_limits(MACHINE, tmp_path) == measured
    assert measured.limits.memory_bytes_per_s > 0 and all(rate > 0 for _, rate in measured.near)


def _noted(folder, ratio, what="decode_tokens_per_s", weights="int8"):
    subject = Subject("bench", MACHINE, "a model", "native", weights, 1)
    note(subject, {what: 100.0, "only predicted": 1.0}, {what: 100.0 * ratio}, folder)


def test_only_what_both_sides_have_is_noted(tmp_path):
    _noted(tmp_path, 0.9)
    (found,) = comparisons(tmp_path)
    assert isinstance(found, Comparison) and found.ratio == pytest.approx(0.9)
    assert found.model == "a model" and found.what == "decode_tokens_per_s"


def test_lines_of_another_version_are_left_out(tmp_path):
    append_line(tmp_path / "history.jsonl", {"something": "else"})
    assert comparisons(tmp_path) == []


def test_predictions_learn_from_measurements(tmp_path):
    for ratio in (0.8, 0.84, 0.82):
        _noted(tmp_path, ratio)
    better = corrections_for(MACHINE, tmp_path).applied(SPEED, "native", "int8")
    assert better.decode_tokens_per_s == pytest.approx(82)
    assert better.output_tokens_per_s == pytest.approx(80 * 0.82)
    assert better.prefill_tokens_per_s == SPEED.prefill_tokens_per_s
    assert better.error == 0.1


def test_what_was_measured_elsewhere_or_of_other_weights_does_not_count(tmp_path):
    _noted(tmp_path, 0.8, weights="int4")
    assert corrections_for(MACHINE, tmp_path).applied(SPEED, "native", "int8") == SPEED
    other = replace(MACHINE, num_cores=2)
    assert corrections_for(other, tmp_path).applied(SPEED, "native", "int4") == SPEED


def test_a_broken_measurement_teaches_nothing(tmp_path):
    _noted(tmp_path, 0.01)
    _noted(tmp_path, 50)
    assert corrections_for(MACHINE, tmp_path).ratios == {}
    assert Corrections().applied(SPEED, "native", "int8") is SPEED


def test_one_or_two_measurements_do_not_narrow_the_band(tmp_path):
    _noted(tmp_path, 1.1)
    assert corrections_for(MACHINE, tmp_path).applied(SPEED, "native", "int8").error == SPEED.error


def test_what_a_command_saw_is_compared_with_its_plan(tmp_path, monkeypatch):
    from fairway.map.compare import HUGE_PAGE_BYTES, remember_answer, remember_memory, remember_speed
    from fairway.map.planner import plan
    from fairway.map.probe import probe
    from fairway.map.settings import PlanSettings
    from fairway.map.speed import Load
    from fairway.models.random import QWEN2_5_0_5B, random_bundle

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    bundle, machine = random_bundle(QWEN2_5_0_5B), probe()
    planned = plan(bundle, machine, PlanSettings())
    remember_speed("bench", "a model", bundle, planned, Load(), {"decode_tokens_per_s": 50.0})
    assert comparisons() == []
    write_state(state_folder() / FILE_NAME, {fingerprint(machine): LIMITS.to_dict()})
    remember_memory("serve", "a model", bundle, planned, blocks_held=0)
    remember_memory("serve", "a model", bundle, planned, blocks_held=1)
    remember_memory("serve", "a model", bundle, planned, blocks_held=planned.num_blocks)
    empty, begun, full = (each.predicted for each in comparisons())
    assert full - empty == planned.need.kv_bytes
    assert begun - empty == 2 * 24 * HUGE_PAGE_BYTES, "keys and values of 24 layers"
    if why_reference() is None:
        remember_speed("bench", "a model", bundle, planned, Load(), {"decode_tokens_per_s": 50.0})
        remember_answer("up", "a model", bundle, planned, Load(), 40.0)
    found = {each.what: each for each in comparisons()}
    assert found["memory_bytes"].measured > 0
    if why_reference() is None:
        assert found["answer_tokens_per_s"].predicted < found["decode_tokens_per_s"].predicted
        assert set(corrections_for(machine).ratios) <= {
            ("native", planned.weight_type, what) for what in found
        }
        assert found["decode_tokens_per_s"].measured == 50.0
        assert found["decode_tokens_per_s"].predicted > 0
