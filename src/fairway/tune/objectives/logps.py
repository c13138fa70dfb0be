"""Log-probabilities of answers: the sum, or each token's, over the tokens that are learned."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from fairway.tune.chunked_loss import per_row
from fairway.tune.encode import Example
from fairway.tune.job import Job
from fairway.tune.packing import join
from fairway.tune.torch_decoder import TorchDecoder, tokens_of


def answer_logps(job: Job, examples: Sequence[Example]) -> list[Tensor]:
    """Of each example: the log-probability of each learned token, float32 [learned]."""
    return token_logps(job.decoder, job, examples)


def token_logps(
    decoder: TorchDecoder, job: Job, examples: Sequence[Example], temperature: float = 1.0
) -> list[Tensor]:
    """As `answer_logps`, by any decoder; logits are divided by `temperature`."""

    def logps(logits: Tensor, labels: Tensor) -> Tensor:
        return -functional.cross_entropy(logits / temperature, labels, reduction="none")

    tokens = tokens_of(join(examples), job.device)
    hidden = decoder.hidden(tokens)[tokens.rows]
    found = per_row(decoder.logits, logps, hidden, tokens.labels)
    return list(found.split([num_answer(each) for each in examples]))


def num_answer(example: Example) -> int:
    """Tokens that have a log-probability: those learned, but not the first of all."""
    return int(example.learned[1:].sum())
