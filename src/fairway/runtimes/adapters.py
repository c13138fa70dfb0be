"""The adapters of one runtime by name: opened, packed and handed to the engine while it answers.

Names live here, identities in the engine. The rule: an identity is the digest of what an adapter
computes, so that equal prefixes under another adapter, or another one of the same name, share nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fairway.engine.worker import Worker
from fairway.errors import ModelNotFound, RequestError, SettingsError
from fairway.formats.lora import Adapter
from fairway.formats.lora_open import open_adapter
from fairway.formats.prefix_peft import Prefix, is_prefix, read_prefix
from fairway.kernels.program import Delta, PackedAdapter
from fairway.models.adapters import adapter_deltas
from fairway.models.loader import Model
from fairway.models.prefix import prefix_tokens

MAX_NAME = 200


@dataclass(frozen=True)
class AdapterInfo:
    """An adapter that is being served."""

    name: str
    path: str
    identity: str
    rank: int | None
    """Of the layer with the largest; None: it is a prefix."""
    num_virtual_tokens: int
    """Positions that it takes before every prompt; 0: it is LoRA."""
    num_layers: int
    num_parameters: int
    num_bytes: int
    """In memory."""
    created_s: int


@dataclass(frozen=True)
class Opened:
    """An adapter ready for the engine."""

    adapter: Adapter | Prefix
    packed: PackedAdapter


Open: TypeAlias = Callable[[Path], Opened]
Pack: TypeAlias = Callable[[Mapping[str, Delta]], PackedAdapter]


def opener(config: Mapping[str, Any], model: Model, pack: Pack, max_rank: int) -> Open:
    """How adapters of one model are opened; `config` is its config.json."""

    def packed(adapter: Adapter | Prefix) -> PackedAdapter:
        if isinstance(adapter, Prefix):
            return prefix_tokens(adapter, model.cache_shape(1), model.max_context)
        return pack(adapter_deltas(model.program, adapter, max_rank))

    def open(path: Path) -> Opened:
        adapter = read_prefix(path) if is_prefix(path) else open_adapter(path, config)
        opened = Opened(adapter, packed(adapter))
        for source in adapter.sources:
            source.release()
        return opened

    return open


class AdapterTable:
    """Name -> adapter. `load` and `unload` are safe from any thread and wait for the engine."""

    def __init__(self, worker: Worker, open: Open, max_adapters: int) -> None:
        self._worker = worker
        self._open = open
        self._max_adapters = max_adapters
        self._infos: dict[str, AdapterInfo] = {}
        self._changing = threading.Lock()

    @property
    def infos(self) -> Mapping[str, AdapterInfo]:
        """What is loaded, in the order it came."""
        return dict(self._infos)

    def find(self, name: str) -> AdapterInfo:
        """Raises `ModelNotFound`, which says what there is."""
        info = self._infos.get(name)
        if info is None:
            raise ModelNotFound(f"There is no adapter {name[:80]!r} here.", hint=self._known(), param="model")
        return info

    def load(self, name: str, path: Path, *, replace: bool = False) -> AdapterInfo:
        """Requests may name it once this returns. Raises what opening and fitting it raise."""
        with self._changing:
            self._refuse(name, replace)
            opened = self._open(path)
            info = _info(name, path, opened)
            self._worker.call(lambda engine: engine.adapters.load(info.identity, opened.packed))
            before = self._infos.get(name)
            self._infos[name] = info
            self._forget(before)
            return info

    def unload(self, name: str) -> None:
        """New requests are refused at once; running ones finish first."""
        with self._changing:
            self.find(name)
            self._forget(self._infos.pop(name))

    def _forget(self, info: AdapterInfo | None) -> None:
        """The engine lets go of it, unless another name means the same."""
        if info is None or any(each.identity == info.identity for each in self._infos.values()):
            return
        self._worker.call(lambda engine: engine.adapters.unload(info.identity))

    def _refuse(self, name: str, replace: bool) -> None:
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise RequestError(
                f"An adapter's name has 1 to {MAX_NAME} printable characters.", param="lora_name"
            )
        if name in self._infos:
            if replace:
                return
            raise RequestError(
                f"An adapter {name!r} is loaded already.",
                hint="Unload it first, or set load_inplace.",
                param="lora_name",
            )
        if len(self._infos) >= self._max_adapters:
            raise SettingsError(
                f"{len(self._infos)} adapters are loaded, and no more are allowed.",
                hint="Unload one, or start with a larger --max-loras.",
            )

    def _known(self) -> str:
        return f"Loaded: {', '.join(self._infos)}." if self._infos else "No adapter is loaded."


def _info(name: str, path: Path, opened: Opened) -> AdapterInfo:
    rank, num_virtual_tokens, num_layers = _size(opened.adapter)
    return AdapterInfo(
        name=name,
        path=str(path),
        identity=opened.adapter.digest,
        rank=rank,
        num_virtual_tokens=num_virtual_tokens,
        num_layers=num_layers,
        num_parameters=opened.adapter.num_parameters,
        num_bytes=opened.packed.num_bytes,
        created_s=int(time.time()),
    )


def _size(adapter: Adapter | Prefix) -> tuple[int | None, int, int]:
    """Rank, virtual tokens, layers."""
    if isinstance(adapter, Prefix):
        return None, adapter.shape.num_virtual_tokens, adapter.shape.num_layers
    return max(layer.rank for layer in adapter.layers.values()), 0, len(adapter.layers)
