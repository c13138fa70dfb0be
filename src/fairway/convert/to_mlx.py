"""A Hugging Face folder as mlx-lm's: the same names, floats as they are or MLX's groups of 2 to 8 bits.

A quantised weight is three tensors in the file (codes, scales, biases) and one to whoever reads it: it is
read back as that one and compared. The rule: what mlx-lm computes otherwise than the model is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from fairway.convert.encode import encode, num_bytes
from fairway.convert.job import Conversion, TensorJob, job_of
from fairway.convert.mlx_families import check_family, needed_keys, window_note
from fairway.convert.mlx_runtime import ProveMlx
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.sidecars import as_json, copied_sidecars
from fairway.convert.to_safetensors import common_type, natural, safetensors_files
from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS, Bytes
from fairway.formats.json_text import parse_object
from fairway.formats.layout import Sized
from fairway.formats.mlx_weights import CODE_BITS, GROUP_SIZES, WORD_BITS, pack_codes, type_name
from fairway.kernels.affine_quantize import quantize_affine
from fairway.models.config import DecoderConfig
from fairway.models.families import read_config
from fairway.models.names import check_tensors, stored_names
from fairway.models.sizes import Expected, expected_tensors
from fairway.proof.thresholds import BITS

METADATA = {"format": "mlx"}
CONFIG = "config.json"
LOW = {f"INT{bits}": bits for bits in CODE_BITS}
"""What `--type` calls them -> bits of a code."""


@dataclass(frozen=True)
class Part:
    """One of the tensors that stand for a weight."""

    type: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        return num_bytes(self.type, prod(self.shape))


@dataclass(frozen=True)
class AffineJob(TensorJob):
    """A weight in groups of `group` codes of `bits` bits."""

    bits: int = 4
    group: int = 64

    @property
    def parts(self) -> Mapping[str, Sized]:
        rows, columns = self.shape
        stem, scale = self.name.removesuffix(".weight"), self.rows.info.type
        return {
            self.name: Part("U32", (rows, columns * self.bits // WORD_BITS)),
            f"{stem}.scales": Part(scale, (rows, columns // self.group)),
            f"{stem}.biases": Part(scale, (rows, columns // self.group)),
        }

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts.values())

    def produce_parts(self, start: int, stop: int) -> dict[str, Bytes]:
        codes, *groups = quantize_affine(self.rows.floats(start, stop), self.bits, self.group)
        words = pack_codes(codes, self.bits).reshape(-1).view("u1")
        small = [encode(each, self.rows.info.type, self.source) for each in groups]
        return dict(zip(self.parts, (words, *small), strict=True))


def to_mlx(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Raises before anything is written: a family or a rope that mlx-lm lacks, an unknown type or group."""
    _check_settings(settings)
    config = read_config(bundle.config, bundle.config_name)
    check_family(bundle, config)
    expected = expected_tensors(config)
    check_tensors(bundle, {name: each.shape for name, each in expected.items()}, tied=config.tied_embeddings)
    jobs = _jobs(bundle, expected, settings)
    files, index = safetensors_files(jobs, settings, METADATA)
    sidecars = copied_sidecars(bundle, common_type(jobs) if settings.type in FLOATS else None)
    low = [job for job in jobs if isinstance(job, AffineJob)]
    stated = parse_object(sidecars[CONFIG], CONFIG)
    added = needed_keys(stated, config) | (_quantization(low, settings) if low else {})
    if added:
        sidecars[CONFIG] = as_json(stated | added)
    kind = f"{BITS[type_name(LOW[settings.type])][0]}-bit" if low else _kind(jobs)
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=files,
        sidecars=sidecars | index,
        settings={"group_size": settings.group_size} if low else {},
        notes=_notes(bundle, config, jobs, settings),
        finish=ProveMlx(kind),
    )


def _check_settings(settings: ConvertSettings) -> None:
    if settings.type not in (STORED, *FLOATS, *LOW):
        raise SettingsError(
            f"MLX has no type {settings.type}.",
            hint=f"Choose --type {', '.join([*FLOATS, *LOW]).lower()}.",
            param="type",
        )
    if settings.group_size not in GROUP_SIZES:
        raise SettingsError(
            f"MLX has no groups of {settings.group_size} weights.",
            hint=f"Choose --group-size {', '.join(map(str, GROUP_SIZES))}.",
            param="group_size",
        )


def _jobs(bundle: Bundle, expected: Mapping[str, Expected], settings: ConvertSettings) -> list[TensorJob]:
    """Under the family's names, whatever prefix the checkpoint has."""
    stored, jobs = stored_names(bundle.tensors.infos), []
    for name in sorted(expected, key=natural):
        info = bundle.tensors.infos[stored[name]]
        if info.type not in FLOATS:
            raise UnsupportedError(
                f"{bundle.path} stores {stored[name]} as {info.type}, which MLX's layers do not hold.",
                hint="Start from the original checkpoint, in F32, F16 or BF16.",
            )
        job = job_of(bundle, stored[name], settings.type if settings.type in FLOATS else info.type)
        job = replace(job, name=name, target=name)
        is_matrix = expected[name].role in ("linear", "table")
        jobs.append(_quantised(job, settings) if settings.type in LOW and is_matrix else job)
    return jobs


def _quantised(job: TensorJob, settings: ConvertSettings) -> TensorJob:
    """In the widest group up to the wanted one that divides the rows; a float where none does."""
    fitting = [size for size in GROUP_SIZES if size <= settings.group_size and job.shape[-1] % size == 0]
    if not fitting:
        return job
    bits = LOW[settings.type]
    own = {"type": type_name(bits), "is_exact": False, "bits": bits, "group": max(fitting)}
    return AffineJob(**{key: getattr(job, key) for key in job.__dataclass_fields__} | own)


def _quantization(jobs: list[AffineJob], settings: ConvertSettings) -> dict[str, Any]:
    """With the layers whose groups are smaller."""
    stated: dict[str, Any] = {"group_size": settings.group_size, "bits": LOW[settings.type], "mode": "affine"}
    own = {
        job.name.removesuffix(".weight"): {"group_size": job.group, "bits": job.bits}
        for job in jobs
        if job.group != settings.group_size
    }
    return dict.fromkeys(("quantization", "quantization_config"), stated | own)


def _kind(jobs: list[TensorJob]) -> str:
    """MLX computes in the type of the weights."""
    return "lossless" if all(job.type == "F32" for job in jobs) else "16-bit"


def _notes(
    bundle: Bundle, config: DecoderConfig, jobs: list[TensorJob], settings: ConvertSettings
) -> tuple[str, ...]:
    notes = list(window_note(bundle, config))
    kept = [job.name for job in jobs if settings.type in LOW and len(job.shape) == 2 and len(job.parts) == 1]
    if kept:
        notes.append(f"{len(kept)} matrices stay floats: no group of 32 divides their rows ({kept[0]}).")
    return tuple(notes)
