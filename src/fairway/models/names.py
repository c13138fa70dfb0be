"""Tensor names as families spell them, whatever prefix a checkpoint was saved with.

The same decoder is saved bare ("layers.0"), inside a causal model ("model.layers.0") or inside a
multimodal one ("language_model.model.layers.0"). The rule: what is left over is an error, unless
it is known to be harmless.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from fairway.errors import FormatError
from fairway.formats.bundle import Bundle

PREFIXES = (
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("layers.", "model.layers."),
    ("embed_tokens.", "model.embed_tokens."),
    ("norm.", "model.norm."),
    ("h.", "transformer.h."),
    ("wte.", "transformer.wte."),
    ("wpe.", "transformer.wpe."),
    ("ln_f.", "transformer.ln_f."),
)

# Rotary tables and causal masks that old checkpoints saved, and the eyes of a multimodal model.
HARMLESS = re.compile(
    r"\.rotary_emb\.(inv_freq|cos_cached|sin_cached)$"
    r"|^transformer\.h\.\d+\.attn\.(bias|masked_bias)$"
    r"|^(model\.)?(vision_tower|vision_model|multi_modal_projector)\."
)


def family_name(stored: str) -> str:
    """The name a family asks for, of a tensor as a checkpoint spells it."""
    for prefix, canonical in PREFIXES:
        if stored.startswith(prefix):
            return canonical + stored[len(prefix) :]
    return stored


def stored_names(names: Iterable[str]) -> dict[str, str]:
    """Family name -> the name in the checkpoint."""
    return {family_name(name): name for name in names}


def check_tensors(bundle: Bundle, expected: Mapping[str, tuple[int, ...]], *, tied: bool) -> None:
    """Compares names and shapes with the headers, before any weight is read.

    Raises `FormatError` naming the first tensor that is missing, misshapen or not expected, and
    how many more there are.
    """
    stored = stored_names(bundle.tensors.infos)
    missing = [name for name in expected if name not in stored]
    if missing:
        first = missing[0]
        raise _error(bundle, f"tensor {first} of shape {expected[first]} is missing", missing)
    found = {name: tuple(bundle.tensors.infos[stored[name]].shape) for name in expected}
    misshapen = [name for name in expected if found[name] != expected[name]]
    if misshapen:
        first = misshapen[0]
        raise _error(
            bundle, f"tensor {first} has shape {found[first]}, expected {expected[first]}", misshapen
        )
    extra = [name for name in stored if name not in expected and not _harmless(name, tied)]
    if extra:
        shape = tuple(bundle.tensors.infos[stored[extra[0]]].shape)
        raise _error(
            bundle, f"tensor {extra[0]} of shape {shape} belongs to no part of this architecture", extra
        )


def _harmless(name: str, tied: bool) -> bool:
    return HARMLESS.search(name) is not None or (tied and name == "lm_head.weight")


def _error(bundle: Bundle, problem: str, tensors: list[str]) -> FormatError:
    more = f" ({len(tensors) - 1} more like it)" if len(tensors) > 1 else ""
    return FormatError(
        f"{bundle.name}: {problem}{more}.",
        hint=f"Check that its {bundle.config_name} belongs to these weights.",
    )
