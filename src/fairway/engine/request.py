"""One request: its tokens, what of them is computed, and every sum about it.

Knows no blocks' contents, no queue and no clock. The rule: a count about a request is written here
once and nowhere else. Token ids live in one growing array (prompt, then answer), never copied whole.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from fairway.engine.events import FinishReason, TokenLogprob
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import RequestError

if TYPE_CHECKING:
    from fairway.engine.adjustments import Adjustments
    from fairway.engine.radix_tree import Node

DEFAULT_SAMPLING = SamplingParams()


class Request:
    """A prompt on its way to an answer. Belongs to the engine once added; read `id` only after that."""

    def __init__(
        self,
        prompt_ids: Sequence[int],
        sampling: SamplingParams = DEFAULT_SAMPLING,
        *,
        id: str | None = None,
        adapter: str = "",
        num_virtual: int = 0,
    ) -> None:
        self.id = id if id is not None else secrets.token_hex(8)
        self.sampling = sampling
        self.adapter = adapter
        """Identity of the weights beside the model's own; prefixes are shared within it only."""
        self.num_virtual = num_virtual
        """Positions before the prompt that hold the adapter's own keys and values instead of tokens."""
        self.token_ids = token_array(prompt_ids)
        self.num_prompt = len(self.token_ids)
        self.seed = sampling.seed if sampling.seed is not None else secrets.randbits(63)
        self.stop_ids = sampling.ids_that_end
        self.max_output = sampling.max_tokens if sampling.max_tokens is not None else 1 << 62
        """Lowered to the context when the request is added."""

        self.arrival = 0
        """Place in the order of arrival; given once, kept through preemption."""
        self.block_ids = array("i")
        self.node: Node | None = None
        """Deepest node of the prefix tree that this request holds; None while it holds no blocks."""
        self.num_computed = 0
        """Leading positions whose keys and values lie in `block_ids`."""
        self.num_cached: int | None = None
        """Prompt tokens found in the prefix cache at the first admission; None before it."""
        self.num_preemptions = 0
        self.prompt_logprobs: list[tuple[TokenLogprob, ...]] = []
        self.adjustments: Adjustments | None = None
        self.finish_reason: FinishReason | None = None
        self._block_keys: list[Hashable] = []

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_output(self) -> int:
        return len(self.token_ids) - self.num_prompt

    @property
    def num_positions(self) -> int:
        """Of all present tokens and the virtual ones before them."""
        return self.num_virtual + len(self.token_ids)

    @property
    def next_position(self) -> int:
        """Of the first token still to compute. Virtual ones before it need only be stored."""
        return max(self.num_computed, self.num_virtual)

    @property
    def num_new(self) -> int:
        """Tokens still to compute before the next one can be chosen; 1 while decoding."""
        return self.num_positions - self.next_position

    @property
    def wants_prompt_logprobs(self) -> bool:
        """Some prompt token's log probability is asked for and not known yet."""
        wanted = self.sampling.prompt_logprobs is not None
        return wanted and len(self.prompt_logprobs) < self.num_prompt - 1

    @property
    def first_output(self) -> int:
        """First position whose logits are still wanted. Positions before it may come from the cache."""
        scored = len(self.prompt_logprobs) if self.wants_prompt_logprobs else len(self.token_ids) - 1
        return self.num_virtual + scored

    def num_outputs(self, num_tokens: int) -> int:
        """Logits wanted from the next `num_tokens` tokens: always the last ones."""
        return max(0, self.next_position + num_tokens - max(self.next_position, self.first_output))

    def most_tokens(self, num_outputs: int) -> int:
        """Most next tokens that want at most `num_outputs` logits."""
        return max(0, self.first_output - self.next_position) + num_outputs

    def tokens_at(self, start: int, end: int) -> array[int]:
        """The tokens at positions start .. end - 1, none of which is virtual."""
        return self.token_ids[start - self.num_virtual : end - self.num_virtual]

    def num_blocks(self, block_size: int) -> int:
        """Blocks that all its present positions need."""
        return -(-self.num_positions // block_size)

    def num_full_blocks(self, block_size: int) -> int:
        """Blocks whose every position is computed."""
        return self.num_computed // block_size

    def num_matchable_blocks(self, block_size: int) -> int:
        """Whole blocks that the cache may supply: at least the last token is always computed."""
        return self.first_output // block_size

    def block_key(self, index: int, block_size: int) -> Hashable:
        """What the prefix tree knows block `index` by: its tokens, and the adapter at the root."""
        keys = self._block_keys
        while len(keys) <= index:
            start = len(keys) * block_size - self.num_virtual
            tokens = self.token_ids[max(start, 0) : max(start + block_size, 0)].tobytes()
            keys.append(tokens if keys else (self.adapter, tokens))
        return keys[index]

    def forget_blocks(self) -> None:
        """Holds nothing and has nothing computed."""
        del self.block_ids[:]
        self.node = None
        self.num_computed = 0

    @property
    def end(self) -> FinishReason | None:
        """Why the tokens so far end the answer, if they do."""
        if self.num_output and self.token_ids[-1] in self.stop_ids:
            return "stop"
        return "length" if self.num_output >= self.max_output else None


def token_array(token_ids: Sequence[int]) -> array[int]:
    """32-bit token ids, checked: a prompt has at least one and none is negative."""
    try:
        tokens = array("i", token_ids)
    except (TypeError, OverflowError) as error:
        raise RequestError("The prompt must be a list of token ids.", param="prompt") from error
    if not tokens:
        raise RequestError("The prompt is empty; it needs at least one token.", param="prompt")
    if min(tokens) < 0:
        raise RequestError(f"Token id {min(tokens)} in the prompt is negative.", param="prompt")
    return tokens
