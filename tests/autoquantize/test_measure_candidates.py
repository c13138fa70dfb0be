"""Measurements: of what is written, the same whatever was measured before, and kept."""

from dataclasses import replace

import numpy as np
import pytest
from model_cases import CASES
from model_folders import make_folder

from fairway.autoquantize import measure as module
from fairway.autoquantize.journal import Journal
from fairway.autoquantize.measure import Measuring, Text
from fairway.autoquantize.sensitivity import options_of
from fairway.autoquantize.task import task_of
from fairway.convert.hops import convert
from fairway.errors import FormatError, UsageError
from fairway.formats.open import open_bundle
from fairway.kernels.select import select_backend
from fairway.proof import evaluation_text
from fairway.proof.hop import Side
from fairway.proof.logits import compare_logits
from fairway.proof.recorded import record_weights

OWN = {"vocab_size": 402, "bos_token_id": 400, "eos_token_id": 401, "pad_token_id": None}
SHORT = Text("a short text", evaluation_text.mixed()[:6000])


def silent(*_):
    pass


def measuring_of(conversion, text=SHORT, journal=None):
    found = Measuring(conversion.source, text, select_backend(), journal or Journal(None, {}))
    found.run_reference(silent)
    return found


def test_it_is_what_the_file_measures(conversion_of, tmp_path):
    conversion = conversion_of(mix="Q4_K_M")
    task, measuring = task_of(conversion), measuring_of(conversion)
    measured = measuring.measure(task.stored(task.usual["Q4_K_M"]))
    convert(conversion)
    backend = select_backend()
    sides = [Side(conversion.source), Side(open_bundle(tmp_path / "Q4_K_M.gguf"))]
    ours, theirs = (record_weights(side, 256, backend) for side in sides)
    found = compare_logits(ours, theirs, measuring.ids, "text")
    assert measured.likeness.kl_mean == pytest.approx(found.kl_mean, rel=1e-6)
    assert measured.flips == pytest.approx(1 - found.same_top)
    assert measured.tokens_per_s > 0


def test_nothing_is_left_of_an_earlier_measurement(conversion_of):
    conversion = conversion_of()
    task = task_of(conversion)
    first, second = measuring_of(conversion), measuring_of(conversion)
    coarse, fine = (task.stored(task.usual[name]) for name in ("Q2_K", "Q6_K"))
    first.divergence(coarse)
    assert first.divergence(fine) == second.divergence(fine)
    assert first.divergence({}) == pytest.approx(0, abs=1e-9)


def test_what_is_known_is_not_measured_again(conversion_of, tmp_path, monkeypatch):
    conversion = conversion_of()
    types = task_of(conversion).stored(task_of(conversion).usual["Q8_0"])
    once = measuring_of(conversion, journal=Journal(tmp_path, {})).measure(types)
    monkeypatch.setattr(module, "decode_rate", None)
    again = measuring_of(conversion, journal=Journal(tmp_path, {}))
    assert again.knows(types, few=False)
    assert not again.knows(types, few=True)
    assert again.measure(types) == once


def test_sums_foretell_what_whole_mixes_measure(conversion_of):
    """What the choice rests on: divergences add up, and follow the rounding errors."""
    conversion = conversion_of()
    task, measuring = task_of(conversion), measuring_of(conversion)
    options = options_of(task, measuring, silent)
    for mix in ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"):
        types = task.usual[mix]
        taken = [
            next(each for each in of_group if each.type == types[group.jobs[0].name])
            for group, of_group in zip(task.groups, options, strict=True)
        ]
        measured = measuring.measure(task.stored(types)).likeness.kl_mean
        assert sum(each.divergence for each in taken) == pytest.approx(measured, rel=0.25), mix


def test_a_text_that_is_too_short(conversion_of):
    with pytest.raises(UsageError, match="tokens; 512 are needed"):
        measuring_of(conversion_of(), Text("note.txt", "Once upon a time."))


def test_a_large_vocabulary_is_judged_on_fewer_windows(conversion_of, monkeypatch):
    long = Text("text", evaluation_text.mixed())
    assert measuring_of(conversion_of(), long).num_windows == 8
    monkeypatch.setattr(module, "REFERENCE_BYTES", 3 * 4 * 4096 * 256)
    few = measuring_of(conversion_of(), long)
    assert (few.num_windows, few.num_tokens) == (3, 768)
    assert few.reference_bytes == sum(each.nbytes for each in few._reference)
    assert np.isfinite(few.divergence({}))


@pytest.mark.parametrize("name", ["gpt2-tied", "phi3-longrope-short", "qwen2-tied", "gemma2-soft-caps"])
@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_every_way_of_storing_a_matrix(conversion_of, tmp_path, name, kind):
    """Turned, stacked, with biases, with other norms: what is measured is what is written."""
    config = CASES[name] | OWN
    if "query_pre_attn_scalar" in config:
        config["query_pre_attn_scalar"] = config["head_dim"]  # as GGUF has it
    path = make_folder(tmp_path / "model", config)
    if kind == "gguf":
        convert(conversion_of(path, "F32"))
        path = tmp_path / "F32.gguf"
    task = task_of(conversion_of(path))
    measuring = measuring_of(conversion_of(path))
    choice = [list(group.errors)[place % len(group.errors)] for place, group in enumerate(task.groups)]
    types = task.types(choice)
    measured = measuring.measure(task.stored(types)).likeness.kl_mean
    conversion = replace(conversion_of(path, "Q8_0", types), accept="a test of random weights")
    assert convert(conversion).num_bytes == task.size(types)
    sides = [Side(conversion.source), Side(open_bundle(tmp_path / "Q8_0.gguf"))]
    ours, theirs = (record_weights(side, len(measuring.ids[0]), select_backend()) for side in sides)
    assert measured == pytest.approx(compare_logits(ours, theirs, measuring.ids, "text").kl_mean, rel=1e-4)


def test_predictions_that_are_no_numbers_are_refused(conversion_of, monkeypatch):
    monkeypatch.setattr(module.Forward, "logits", lambda self, ids: iter([np.full((len(ids), 4096), np.nan)]))
    with pytest.raises(FormatError, match="predicts what is no number"):
        measuring_of(conversion_of())


def test_a_mix_that_breaks_the_model_is_as_bad_as_can_be(conversion_of, monkeypatch):
    conversion = conversion_of()
    measuring = measuring_of(conversion)
    monkeypatch.setattr(
        module.Forward, "logits", lambda self, ids: iter([np.full((len(ids), 4096), np.nan, np.float32)])
    )
    assert measuring.divergence({}) == module.LOST
    assert measuring.measure({}).likeness.kl_mean == module.LOST
