"""Templates of the common families, conversations, and a tokenizer that knows their control tokens.

The templates were written for these tests, with the turns and white space of the families they are named
after, and mark what the assistant writes.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, decoders, pre_tokenizers
from tokenizers import Tokenizer as Backend
from tokenizers.models import BPE

from fairway.text.chat_template import ChatTemplate
from fairway.text.fast_tokenizer import FastTokenizer
from fairway.text.pieces import BYTE_LEVEL
from fairway.text.tokenizer import SpecialTokens, Tokenizer
from fairway.tune.encode import Encoder
from fairway.tune.render import Renderer
from fairway.tune.settings import DataSettings

SHARED = Path(__file__).parents[3] / "shared" / "data"
FINETUNE = SHARED / "text" / "finetune"

BEGIN, END = "{% generation %}", "{% endgeneration %}"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' %}" + BEGIN + "{{ m['content'] + '<|im_end|>' }}" + END + "{{ '\\n' }}"
    "{% else %}{{ m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' }}"
    "{% if m['role'] == 'assistant' %}" + BEGIN + "{{ m['content'] | trim + '<|eot_id|>' }}" + END +
    "{% else %}{{ m['content'] | trim + '<|eot_id|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)  # fmt: skip
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% elif m['role'] == 'assistant' %}" + BEGIN + "{{ ' ' + m['content'] + eos_token }}" + END +
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)  # fmt: skip
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate') }}{% endif %}"
    "{% if m['role'] == 'assistant' %}{{ '<start_of_turn>model\\n' }}" + BEGIN +
    "{{ m['content'] | trim + '<end_of_turn>' }}" + END + "{{ '\\n' }}"
    "{% else %}{{ '<start_of_turn>' + m['role'] + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)  # fmt: skip
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' }}"
    "{% if m['role'] == 'assistant' %}" + BEGIN + "{{ m['content'] + '<|end|>' }}" + END + "{{ '\\n' }}"
    "{% else %}{{ m['content'] + '<|end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
MARKED = {"chatml": CHATML, "llama 3": LLAMA3, "mistral": MISTRAL, "gemma": GEMMA, "phi": PHI}
# Templates of ../shared that write a turn in one statement.
REAL = (
    "google-gemma-2-2b-it.jinja",
    "meta-llama-Llama-3.2-3B-Instruct.jinja",
    "microsoft-Phi-3.5-mini-instruct.jinja",
    "mistralai-Mistral-Nemo-Instruct-2407.jinja",
    "Qwen-Qwen2.5-7B-Instruct.jinja",
)
TURN = re.compile(
    r"""(?P<open>\{\{-?) *(?P<header>(?:(?!\}\}|\{\{).)*?)\+? *"""
    r"""(?P<said>message(?:\.content|\[.content.\])(?: *\| *trim)? *\+ *)"""
    r"""(?P<end>eos_token|'(?:<\|end\|>|<\|eot_id\|>|<\|im_end\|>|<end_of_turn>))(?P<after>(?:(?!\}\}).)*)\}\}""",
    re.DOTALL,
)
# The answer of a turn that is not the last loses its thinking, as Qwen 3's template does it.
FORGETTING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}"
    "{% if m['role'] == 'assistant' and not loop.last %}{{ m['content'].split('</think>')[-1] }}"
    "{% else %}{{ m['content'] }}{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
ENDS = ("<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "<|end|>", "<|endoftext|>")
CONTROL = (*ENDS, "<s>", "<|im_start|>", "<|start_header_id|>", "<|end_header_id|>", "[INST]", "[/INST]",
           "<start_of_turn>", "<|user|>", "<|assistant|>", "<|system|>")  # fmt: skip
BOS, EOS = "<s>", "</s>"
CLOCK = datetime(2026, 3, 4, 5, 6, 7)


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


CONVERSATIONS = {
    "one turn": [user("Hello"), assistant("Hi there!")],
    "two turns": [user("1 + 1?"), assistant("2"), user("and 2 more?"), assistant("4, of course.")],
    "odd text": [
        user("é 日本 🦙\n\n"),
        assistant("  Straße 🦙🦙\n\tline two \n"),
        user("?"),
        assistant("🦙"),
    ],
    "many turns": [
        turn for at in range(6) for turn in (user(f"question {at}"), assistant(f"answer {at}" * at or "a"))
    ],
    "ends with a question": [user("Hello"), assistant("Hi"), user("Still there?")],
    "the question is the answer": [user("same"), assistant("same"), user("same"), assistant("same")],
}


def marked(source: str) -> str:
    """A real template with marks around what the assistant says; it renders what it rendered before."""

    def with_marks(turn: re.Match) -> str:
        header, said, end, after = (turn[name] for name in ("header", "said", "end", "after"))
        quote = "'" if end.startswith("'") else ""
        answer = "{{ " + (header or "''") + " }}" + BEGIN + "{{ " + said + end + quote + " }}" + END
        answer += "{{ '" + after + "}}" if quote else ""
        opened = "{%- if" if turn["open"] == "{{-" else "{% if"
        return opened + " message['role'] == 'assistant' %}" + answer + "{% else %}" + turn[0] + "{% endif %}"

    found, count = TURN.subn(with_marks, source)
    assert count
    return found


def unmarked(template: str) -> str:
    return re.sub(r"{% (end)?generation %}", "", template)


def backend() -> Backend:
    """A token per byte, and the control tokens of all families."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Backend(BPE({char: at for at, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in CONTROL])
    return made


def tokenizer() -> Tokenizer:
    made = backend()
    special = SpecialTokens(
        frozenset(made.token_to_id(each) for each in CONTROL), made.token_to_id(BOS), made.token_to_id(EOS)
    )
    return FastTokenizer(made, BYTE_LEVEL, special)


def encoder(template: str, settings: DataSettings | None = None, tokens: Tokenizer | None = None) -> Encoder:
    tokens = tokens or tokenizer()
    compiled = ChatTemplate(template, bos_token=BOS, eos_token=EOS, clock=lambda: CLOCK)
    ids = {tokens.token_id(each) for each in ENDS} - {None}
    return Encoder(tokens, Renderer(compiled, ENDS, EOS), settings or DataSettings(), ids)


def runs(learned) -> list[list[int]]:
    """[[first, after the last], ...] of what is true."""
    edges = [at for at in range(len(learned) + 1)
             if (learned[at] if at < len(learned) else 0) != (learned[at - 1] if at else 0)]  # fmt: skip
    return [list(pair) for pair in zip(edges[::2], edges[1::2], strict=True)]
