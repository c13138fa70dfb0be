"""The recorded forward pass in PyTorch: transformers' logits, PEFT's loss and gradients."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from peft_cases import CASES, DORA_CASES, LORA, NUM_VIRTUAL, PREFIX_CASES, ROWS, lora_weight, tiny  # noqa: E402

from fairway.tune.encode import Example  # noqa: E402
from fairway.tune.forward_names import recorded  # noqa: E402
from fairway.tune.lora_layers import lora_for, row_lengths  # noqa: E402
from fairway.tune.packing import join  # noqa: E402
from fairway.tune.prefix_tokens import prefix_for  # noqa: E402
from fairway.tune.torch_decoder import TorchDecoder, tokens_of  # noqa: E402
from fairway.tune.torch_weights import load_weights  # noqa: E402

CPU = torch.device("cpu")
GOLDENS = Path(__file__).parent / "goldens"
FAMILIES = sorted(path.stem for path in (Path(__file__).parents[1] / "models" / "goldens").glob("*.npz"))
SHORT_CONTEXT = ("llama-rope-dynamic", "phi3-longrope-short")  # their rope depends on what is served


def example(ids: list[int], labels: list[int]) -> Example:
    return Example("", np.array(ids, np.int32), np.array(labels) >= 0)


def packed_rows():
    return tokens_of(join([example(*row) for row in ROWS]), CPU)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in SHORT_CONTEXT])
def test_logits_of_every_family_are_those_of_transformers(name: str) -> None:
    answer = tiny(name)
    loaded = load_weights(answer.bundle, torch.float32, CPU)
    decoder = TorchDecoder(loaded.config, loaded.weights)
    tokens = tokens_of(join([example(answer.tokens, answer.tokens)]), CPU)
    with torch.no_grad():
        logits = decoder.logits(decoder.hidden(tokens)).numpy()
    assert np.abs(logits - answer.logits).max() < 2e-5 * np.abs(answer.logits).max()


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize(
    ("kind", "name"), [("peft", name) for name in CASES] + [("dora", name) for name in DORA_CASES]
)
def test_loss_and_gradients_of_packed_rows_are_those_of_peft(kind: str, name: str, recompute: bool) -> None:
    with np.load(GOLDENS / f"{kind}-{name}.npz") as wanted:
        loaded = load_weights(tiny(name).bundle, torch.float32, CPU)
        program = recorded(loaded.config)
        lengths = row_lengths(program, loaded.weights) if kind == "dora" else None
        lora = lora_for(program, LORA, lengths)
        names = {f"base_model.model.{key}": each for key, each in lora.tensors.items()}
        assert set(names) == set(wanted.files) - {"loss"}
        for key, each in names.items():
            each.copy_(torch.from_numpy(lora_weight(key, tuple(each.shape)))).requires_grad_(True)
        decoder = TorchDecoder(loaded.config, loaded.weights, lora, recompute_layers=recompute)
        tokens = packed_rows()
        loss = decoder.loss(tokens) / len(tokens.labels)
        loss.backward()
        assert abs(loss.item() - float(wanted["loss"])) < 1e-5
        for key, each in names.items():
            assert np.abs(each.grad.numpy() - wanted[key]).max() < 1e-5 * max(1, np.abs(wanted[key]).max())


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("name", PREFIX_CASES)
def test_loss_and_gradient_of_a_prefix_are_those_of_peft(name: str, recompute: bool) -> None:
    with np.load(GOLDENS / f"prefix-{name}.npz") as wanted:
        loaded = load_weights(tiny(name).bundle, torch.float32, CPU)
        prefix = prefix_for(recorded(loaded.config), NUM_VIRTUAL)
        values = prefix.tensors["prompt_embeddings"]
        values.copy_(torch.from_numpy(lora_weight("prompt_embeddings", tuple(values.shape)))).requires_grad_()
        decoder = TorchDecoder(loaded.config, loaded.weights, None, prefix, recompute_layers=recompute)
        tokens = packed_rows()
        loss = decoder.loss(tokens) / len(tokens.labels)
        loss.backward()
        assert abs(loss.item() - float(wanted["loss"])) < 1e-5
        assert np.abs(values.grad.numpy() - wanted["prompt_embeddings"]).max() < 1e-5


def test_a_row_has_the_same_loss_alone_and_packed() -> None:
    loaded = load_weights(tiny("gemma3-text-pattern").bundle, torch.float32, CPU)
    decoder = TorchDecoder(loaded.config, loaded.weights)
    with torch.no_grad():
        alone = [decoder.loss(tokens_of(join([example(*row)]), CPU)).item() for row in ROWS]
        together = decoder.loss(packed_rows()).item()
    assert abs(sum(alone) - together) < 1e-4


def test_chunks_of_logits_give_the_same_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    from fairway.tune import chunked_loss

    loaded = load_weights(tiny("qwen2-tied").bundle, torch.float32, CPU)
    table = loaded.weights["model.embed_tokens.weight"].requires_grad_(True)
    found = []
    for num_bytes in (1 << 20, 4 * 72 * 5):
        monkeypatch.setattr(chunked_loss, "CHUNK_BYTES", num_bytes)
        table.grad = None
        loss = TorchDecoder(loaded.config, loaded.weights).loss(packed_rows())
        loss.backward()
        found.append((loss.item(), table.grad.clone()))
    (first, one), (second, two) = found
    assert abs(first - second) < 1e-4
    assert (one - two).abs().max() < 1e-4


@pytest.mark.parametrize("learns", [True, False])
def test_logits_are_shown_and_change_nothing(learns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from fairway.tune import chunked_loss

    monkeypatch.setattr(chunked_loss, "CHUNK_BYTES", 4 * 72 * 5)
    loaded = load_weights(tiny("qwen2-tied").bundle, torch.float32, CPU)
    decoder, tokens = TorchDecoder(loaded.config, loaded.weights), packed_rows()
    loaded.weights["model.embed_tokens.weight"].requires_grad_(learns)
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []
    with torch.set_grad_enabled(learns):
        loss = decoder.loss(tokens, lambda logits, labels: shown.append((logits.clone(), labels)))
        assert torch.equal(loss, decoder.loss(tokens))
        logits = decoder.logits(decoder.hidden(tokens)[tokens.rows])
    assert len(shown) > 1
    assert torch.equal(torch.cat([labels for _, labels in shown]), tokens.labels)
    assert (torch.cat([each for each, _ in shown]) - logits).abs().max() < 1e-5
    assert not any(each.requires_grad for each, _ in shown)


def test_bfloat16_stays_near_float32() -> None:
    bundle = tiny("llama-grouped-heads").bundle
    losses = []
    for kind in (torch.float32, torch.bfloat16):
        loaded = load_weights(bundle, kind, CPU)
        decoder = TorchDecoder(loaded.config, loaded.weights, compute=kind)
        with torch.no_grad():
            losses.append(decoder.loss(packed_rows()).item())
    assert abs(losses[0] - losses[1]) < 0.02 * losses[0]
