"""The model, its optimiser and its export."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from builtin_fixtures import SENTENCES, tiny_recipe  # noqa: E402
from recipes.builtin_model.checkpoint import save_checkpoint  # noqa: E402
from recipes.builtin_model.evaluate import bits_per_byte  # noqa: E402
from recipes.builtin_model.export import export, load_exported  # noqa: E402
from recipes.builtin_model.instruct import start_markers  # noqa: E402
from recipes.builtin_model.learner import Learner  # noqa: E402
from recipes.builtin_model.model import LanguageModel  # noqa: E402
from recipes.builtin_model.optimizer import orthogonalise  # noqa: E402
from recipes.builtin_model.team import Team, run_team  # noqa: E402
from recipes.builtin_model.tokenizer import train_tokenizer  # noqa: E402

SHAPE = tiny_recipe().model


def example_batches():
    ids = torch.from_numpy(np.random.default_rng(1).integers(0, 320, (4, 9)))
    return [(ids[:2, :-1], ids[:2, 1:]), (ids[2:, :-1], ids[2:, 1:])]


def learned(team, path=None):
    """Weights after two steps, written to `path` by the first process."""
    torch.manual_seed(0)
    learner = Learner(SHAPE, 0.05, team)
    losses = [learner.learn(example_batches(), 0.02, 0.01) for _ in range(2)]
    if path and team.is_first:
        torch.save((learner.model.state_dict(), losses), path)
    return learner.model.state_dict(), losses


def test_later_tokens_do_not_change_earlier_logits():
    model = LanguageModel(SHAPE)
    ids = torch.arange(10)[None]
    changed = ids.clone()
    changed[0, 7] = 99
    assert torch.equal(model(ids)[0, :7], model(changed)[0, :7])


@pytest.mark.parametrize("shape", [(2, 8, 24), (3, 24, 8)])
def test_orthogonalise_brings_singular_values_near_one(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert values.min() > 0.5 and values.max() < 1.3


def test_two_processes_learn_what_one_learns(tmp_path):
    run_team(2, learned, tmp_path / "two.pt")
    weights, losses = learned(Team())
    shared, shared_losses = torch.load(tmp_path / "two.pt")
    assert losses == pytest.approx(shared_losses)
    assert all(torch.allclose(weights[name], shared[name], atol=2e-3) for name in weights)


def test_chat_markers_start_as_the_tokens_they_resemble():
    tokenizer = train_tokenizer(SENTENCES, SHAPE.vocab_size)
    model = LanguageModel(SHAPE)
    start_markers(model, tokenizer)
    rows = model.model.embed_tokens.weight
    assert torch.equal(rows[tokenizer.token_to_id("<|end|>")], rows[tokenizer.token_to_id("</s>")])


def test_export_keeps_the_weights_but_for_rounding(tmp_path):
    tokenizer = train_tokenizer(SENTENCES, SHAPE.vocab_size)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    model = LanguageModel(SHAPE)
    save_checkpoint(tmp_path / "state.pt", {"model": model.state_dict()})
    export(tmp_path / "state.pt", tmp_path / "tokenizer.json", SHAPE, tmp_path / "out")
    again = load_exported(tmp_path / "out", SHAPE)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight.bfloat16().float(), again.state_dict()[name])
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["eos_token_id"] == [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("</s>")]


def test_bits_per_byte_of_an_untrained_model_is_that_of_guessing():
    tokenizer = train_tokenizer(SENTENCES, SHAPE.vocab_size)
    model = LanguageModel(SHAPE)
    torch.nn.init.zeros_(model.model.embed_tokens.weight)
    text = " ".join(SENTENCES)
    num_tokens = len(tokenizer.encode(text, add_special_tokens=False).ids)
    expected = num_tokens * np.log2(SHAPE.vocab_size) / len(text)
    assert bits_per_byte(model, tokenizer, [text], 32, 16) == pytest.approx(expected, rel=1e-4)
