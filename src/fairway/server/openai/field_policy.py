"""What happens to request fields that this server does not implement.

Some are harmless: ignoring them gives the same answer. Some change what the answer means: they are
refused by name, unless their value asks for what happens anyway. The rest are unknown, most likely
misspelt, and refused with the nearest known name. Nothing is accepted and then ignored.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from fairway.errors import RequestError

# Hints to a hosted service about billing, storage, caching or scheduling; the answer is the same.
HARMLESS = frozenset(
    {
        "metadata",
        "moderation",
        "parallel_tool_calls",
        "prediction",
        "priority",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
        "verbosity",
    }
)

# Field -> (values that ask for what happens anyway, what to tell whoever sends another).
REFUSED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "add_special_tokens": ((), "The chat template decides about special tokens."),
    "allowed_token_ids": ((), "Use logit_bias to forbid or favour tokens."),
    "audio": ((), "This server answers in text only."),
    "bad_words": (([],), "Use logit_bias to forbid tokens."),
    "best_of": ((1,), "Use n and choose among the answers."),
    "cache_salt": ((), "The prefix cache is shared by all requests."),
    "chat_template": ((), "The model's own template is used."),
    "continue_final_message": (
        (False,),
        "Every answer is a new message; use /v1/completions to continue a text.",
    ),
    "documents": (([],), "Put the documents into a message."),
    "echo": ((False,), "Use /v1/completions, which can repeat its prompt."),
    "function_call": (("none",), "Use tools and tool_choice."),
    "functions": (([],), "Use tools and tool_choice."),
    "guided_choice": ((), "Constrained output is not available yet."),
    "guided_grammar": ((), "Constrained output is not available yet."),
    "guided_json": ((), "Constrained output is not available yet."),
    "guided_regex": ((), "Constrained output is not available yet."),
    "length_penalty": ((1, 1.0), "It belongs to beam search, which is not available."),
    "logits_processors": (([],), "Use logit_bias."),
    "modalities": ((["text"],), "This server answers in text only."),
    "return_token_ids": ((False,), "Use /tokenize on the text."),
    "return_tokens_as_token_ids": ((False,), "Use /tokenize on the text."),
    "skip_special_tokens": ((True,), "Special tokens are never part of the text."),
    "spaces_between_special_tokens": ((True, False), "Special tokens are never part of the text."),
    "structured_outputs": ((), "Constrained output is not available yet."),
    "suffix": (("",), "Filling in the middle is not available; put everything into prompt."),
    "truncate_prompt_tokens": ((-1,), "A prompt is never cut; send a shorter one."),
    "use_beam_search": ((False,), "Use n and choose among the answers."),
    "web_search_options": ((), "This server has no access to the web."),
}


def check_unknown_fields(body: BaseModel) -> None:
    """Judges what the schema did not declare, in the body and in its `stream_options`."""
    _check(body, "")
    options = getattr(body, "stream_options", None)
    if options is not None:
        _check(options, "stream_options.")


def _check(body: BaseModel, prefix: str) -> None:
    for name, value in (body.model_extra or {}).items():
        if value is None or (not prefix and name in HARMLESS):
            continue
        if not prefix and name in REFUSED:
            _refuse_unless_usual(name, value)
        else:
            raise _unknown(prefix, name, type(body))


def _refuse_unless_usual(name: str, value: object) -> None:
    usual, advice = REFUSED[name]
    if not any(value == each and type(value) is type(each) for each in usual):
        raise RequestError(f"The field {name} is not supported.", hint=advice, param=name)


def _unknown(prefix: str, name: str, model: type[BaseModel]) -> RequestError:
    nearest = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.7)
    hint = f"Did you mean {prefix}{nearest[0]}?" if nearest else "Leave it out."
    short = name if len(name) <= 60 else name[:60] + "..."
    return RequestError(f"The field {prefix}{short} is unknown.", hint=hint, param=f"{prefix}{short}")
