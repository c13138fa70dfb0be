"""Which parts a bundle lacks to answer anywhere: weights never travel without what makes them speak."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.errors import FormatError
from fairway.formats.bundle import Bundle

WITHOUT_ANSWERS = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "mpnet")
"""Encoders: they give vectors and classes, and no text that could end."""


@dataclass(frozen=True)
class MissingPart:
    """A part by name, what goes wrong without it, and what to do."""

    name: str
    why: str
    fix: str

    def error(self, bundle: Bundle) -> FormatError:
        return FormatError(f"{bundle.path} has no {self.name}: {self.why}.", hint=self.fix)


def missing_parts(bundle: Bundle) -> list[MissingPart]:
    """In the order in which a user should put them right; empty for a complete bundle.

    A chat template, a licence and generation defaults are carried where they are; a model can do without.
    """
    found = []
    if not bundle.config:
        found.append(_file("config.json", "the weights alone do not say what they compute"))
    if bundle.tokenizer is None:
        found.append(_file("tokenizer.json", "text cannot be turned into tokens"))
    if not bundle.end_of_text_ids and bundle.config.get("model_type") not in WITHOUT_ANSWERS:
        fix = 'Write "eos_token_id" into the generation_config.json; its page on the hub names it.'
        found.append(MissingPart("end-of-text id", "its answers would never stop", fix))
    return found


def _file(name: str, why: str) -> MissingPart:
    return MissingPart(name, why, f"Put the model's {name} into the same folder; its page on the hub has it.")
