"""A LoRA adapter against a model: every layer found, every shape compared, before anything is packed.

Knows names and shapes; how a delta is computed is `kernels.program.Linear`'s. The rule: what an
adapter changes and this engine would not is refused by name.
"""

from __future__ import annotations

from fairway.errors import FormatError, SettingsError, UnsupportedError
from fairway.formats.lora import Adapter, LoraLayer
from fairway.kernels.lora import adaptable
from fairway.kernels.program import Delta, Program
from fairway.models.names import family_name

MERGE = "Merge it into its model: fairway convert MODEL --adapter ADAPTER."
TABLES = ("lm_head", "model.embed_tokens", "transformer.wte", "transformer.wpe")


def adapter_deltas(program: Program, adapter: Adapter, max_rank: int) -> dict[str, Delta]:
    """What the adapter adds to each part of the recorded model.

    Raises `UnsupportedError` for what only merging can do, `FormatError` for an adapter of another
    model, `SettingsError` for a rank above `max_rank`.
    """
    if adapter.replaced:
        what = f"replaces whole tensors ({next(iter(adapter.replaced))[:80]})"
        raise UnsupportedError(f"The adapter {adapter.name} {what}, which cannot be served.", hint=MERGE)
    if adapter.uses_dora:
        raise UnsupportedError(
            f"The adapter {adapter.name} is a DoRA: it also sets how long each row of a weight is, which "
            "cannot be served unmerged.",
            hint=MERGE,
        )
    shapes = {
        part.name: (part.width, linear.x.width)
        for linear in adaptable(program.operations)
        for part in linear.lora
    }
    return {
        name: _delta(adapter, name, layer, shapes, max_rank)
        for name, layer in ((family_name(stored), layer) for stored, layer in adapter.layers.items())
    }


def _delta(
    adapter: Adapter, name: str, layer: LoraLayer, shapes: dict[str, tuple[int, int]], max_rank: int
) -> Delta:
    if name in TABLES:
        raise UnsupportedError(
            f"The adapter {adapter.name} changes {name}, and only layers between embedding and head can be "
            "changed while serving.",
            hint=MERGE,
        )
    if name not in shapes:
        raise FormatError(
            f"The adapter {adapter.name} changes {name[:120]}, which this model does not have.",
            hint=_other(adapter),
        )
    shape = (layer.b.shape[0], layer.a.shape[1])
    if shape != shapes[name]:
        raise FormatError(
            f"The adapter {adapter.name} changes {name} as {list(shape)}; this model has "
            f"{list(shapes[name])}.",
            hint=_other(adapter),
        )
    if layer.rank > max_rank:
        raise SettingsError(
            f"The adapter {adapter.name} has rank {layer.rank}; at most {max_rank} is allowed.",
            hint=f"Start with --max-lora-rank {layer.rank}.",
        )
    return Delta(layer.a, layer.b, layer.scale)


def _other(adapter: Adapter) -> str:
    return f"It was trained on {adapter.base}." if adapter.base else "Name the model that it was trained on."
