"""Writes data/transformers-figures.json: what transformers and torch say about one pair of models.

    python tests/proof/make_reference_figures.py        in an environment with torch and transformers

The pair is the built-in model and the same with three mantissa bits left in every linear layer. Nothing of
Fairway is imported: tokenizer, forward pass and every figure are somebody else's.
"""

import json
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "src" / "fairway" / "builtin"
TEXT = ROOT / "src" / "fairway" / "proof" / "evaluation.txt"
RESULT = Path(__file__).parent / "data" / "transformers-figures.json"
LENGTH, COUNT = 256, 3
KEPT_BITS = 3


def shortened(weight: torch.Tensor) -> torch.Tensor:
    """float32 with the lower mantissa bits cut off."""
    mask = ~((1 << (23 - KEPT_BITS)) - 1)
    return (weight.contiguous().view(torch.int32) & mask).view(torch.float32)


def windows() -> torch.Tensor:
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    text = TEXT.read_text("utf-8").replace("\n%%\n", "\n\n")
    ids = tokenizer(text, add_special_tokens=False).input_ids
    step = len(ids) // COUNT
    starts = range(0, step * COUNT, step)
    return torch.tensor([[tokenizer.bos_token_id, *ids[start : start + LENGTH - 1]] for start in starts])


def perplexity(log_probabilities: torch.Tensor, ids: torch.Tensor) -> float:
    found = log_probabilities.gather(-1, ids[:, 1:, None])
    return float(torch.exp(-found.mean()))


def main() -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    ids = windows()
    with torch.no_grad():
        source = model(ids).logits[:, :-1].double()
        for name, parameter in model.named_parameters():
            if name.endswith("_proj.weight"):
                parameter.copy_(shortened(parameter))
        target = model(ids).logits[:, :-1].double()
    ours, theirs = torch.log_softmax(source, -1), torch.log_softmax(target, -1)
    divergences = (
        torch.nn.functional.kl_div(theirs, ours, log_target=True, reduction="none").sum(-1).flatten()
    )
    figures = {
        "source_perplexity": perplexity(ours, ids),
        "target_perplexity": perplexity(theirs, ids),
        "kl_mean": float(divergences.mean()),
        "kl_p99": float(torch.quantile(divergences, 0.99)),
        "kl_max": float(divergences.max()),
        "same_top": float((source.argmax(-1) == target.argmax(-1)).double().mean()),
        "max_difference": float((source - target).abs().max()),
    }
    versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    record = {"versions": versions, "kept_bits": KEPT_BITS, "figures": figures, "ids": ids.tolist()}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(record) + "\n", "utf-8")
    print(figures)


if __name__ == "__main__":
    main()
