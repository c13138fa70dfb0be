"""Which optimizer moves which tensor, by how much, and what it keeps."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from peft_cases import tiny  # noqa: E402

from fairway.tune.forward_names import recorded  # noqa: E402
from fairway.tune.forward_parts import layer_matrices  # noqa: E402
from fairway.tune.optimizer import Optimizer  # noqa: E402
from fairway.tune.recipe import Recipe  # noqa: E402
from fairway.tune.torch_weights import load_weights  # noqa: E402

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="needs torch 2.9")
MUON = Recipe(method="full", optim="muon", learning_rate=1e-2, muon_learning_rate=0.1, weight_decay=0.5)


@pytest.mark.parametrize("name", ["llama-grouped-heads", "phi3-window", "gpt2-tied"])
def test_matrices_of_layers_are_all_but_tables_head_norms_and_biases(name):
    loaded = load_weights(tiny(name).bundle, torch.float32, torch.device("cpu"))
    found = {each for each, _ in layer_matrices(recorded(loaded.config))}
    assert found == {
        each for each, tensor in loaded.weights.items()
        if tensor.dim() == 2 and (".layers." in each or ".h." in each)
    }  # fmt: skip
    assert found


def tensors():
    torch.manual_seed(3)
    shapes = {"wide": (4, 12), "tall": (12, 4), "table": (9, 4), "norm": (4,)}
    made = {name: torch.randn(shape).requires_grad_(True) for name, shape in shapes.items()}
    return made, {"wide", "tall"}


def push(made, seed):
    torch.manual_seed(seed)
    for each in made.values():
        each.grad = torch.randn(each.shape)


@needs_muon
def test_muon_turns_the_gradient_into_a_step_of_equal_singular_values():
    """https://kellerjordan.github.io/posts/muon/: rate * sqrt(max(1, rows / columns)), after the decay."""
    made, matrices = tensors()
    before = {name: each.detach().clone() for name, each in made.items()}
    push(made, 1)
    Optimizer(made, matrices, MUON).step(0.5)
    for name, scale in (("wide", 1.0), ("tall", 3**0.5)):
        step = made[name].detach() - before[name] * (1 - 0.05 * 0.5)
        values = torch.linalg.svdvals(step) / (0.05 * scale)
        assert 0.6 < values.min() <= values.max() < 1.3
    assert np.allclose((made["table"].detach() - before["table"]).abs(), 5e-3, atol=1e-6)
    assert all(each.grad is None for each in made.values())


def test_adamw_decays_tables_where_it_moves_everything():
    made, _ = tensors()
    before = made["table"].detach().clone()
    push(made, 1)
    sign = made["table"].grad.sign()
    Optimizer(made, (), Recipe(learning_rate=1e-2, weight_decay=0.5)).step(1.0)
    assert torch.allclose(made["table"], before * (1 - 5e-3) - 1e-2 * sign, atol=1e-6)


@needs_muon
def test_restored_it_goes_on_bit_for_bit():
    made, matrices = tensors()
    whole = Optimizer(made, matrices, MUON)
    for seed in range(3):
        push(made, seed)
        whole.step(1.0)
    state = {name: values.copy() for name, values in whole.state().items()}
    again = {name: each.detach().clone().requires_grad_(True) for name, each in made.items()}
    assert sorted(state) == ["exp_avg/norm", "exp_avg/table", "exp_avg_sq/norm", "exp_avg_sq/table",
                             "momentum_buffer/tall", "momentum_buffer/wide"]  # fmt: skip
    restored = Optimizer(again, matrices, MUON)
    restored.restore(state, 3)
    for one, optimizer in ((made, whole), (again, restored)):
        push(one, 9)
        optimizer.step(1.0)
    assert all(torch.equal(made[name], again[name]) for name in made)


def test_without_muon_in_pytorch_it_is_a_sentence(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    made, matrices = tensors()
    with pytest.raises(Exception, match="has no Muon"):
        Optimizer(made, matrices, MUON)
