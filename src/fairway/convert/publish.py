"""The last step of every hop, and the only one that gives an output its name.

Proofs are run here, over the source and the output as it lies in its workplace; their summary goes into
the lineage, inside the output. Rule: what was not proved, or not accepted by name, is not published.
"""

from __future__ import annotations

import getpass
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairway import __version__
from fairway.convert.check import Checked, by_type
from fairway.convert.job import Conversion
from fairway.convert.prove import Gathered, summary, verdict_of
from fairway.convert.workplace import Workplace
from fairway.errors import InternalError, ProofFailed
from fairway.formats.bundle import Bundle
from fairway.formats.digest import bundle_digest, digest_of_parts, tensor_digest
from fairway.formats.lineage import FILE_NAME, Lineage, Origin, Step, now
from fairway.formats.open import open_bundle
from fairway.proof.verdict import Verdict

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Published:
    """What a hop made."""

    path: Path
    num_bytes: int
    digest: str
    source_digest: str
    verdict: Verdict
    tensors: dict[str, dict[str, Any]]
    """"BF16 -> Q4_K" -> how many tensors, and how far they are from the source."""


def publish(
    conversion: Conversion, place: Workplace, output: Bundle, gathered: Gathered, checked: Sequence[Checked]
) -> Published:
    """Judges, records the lineage, makes it durable, and renames.

    Raises `ProofFailed`; what was written stays, so that the same command with --accept is quick.
    """
    verdict = verdict_of(conversion, output, gathered.evidence, checked)
    if conversion.finish is not None:
        verdict = Verdict((*verdict.checks, conversion.finish.run(conversion.source, place.output)))
    if conversion.gate is not None:
        verdict = Verdict((*verdict.checks, conversion.gate(place.output)))
    if not verdict.passed and conversion.accept is None:
        raise _failed(verdict)
    pairs = list(zip(conversion.jobs, checked, strict=True))
    stored = {job.target: each.digest for job, each in pairs if len(job.parts) == 1}
    output = open_bundle(place.output, complete=False) if conversion.packs else output
    digest = _digest(output, stored, gathered.output)
    source_digest = _source_digest(conversion, checked, gathered.source)
    if conversion.finish is not None and conversion.finish.leftovers:
        for name in conversion.finish.leftovers:
            (place.output / name).unlink()
        digest = _digest_of_files(place.output)
    record(conversion, place, _lineage(conversion, digest, source_digest, summary(verdict, checked)))
    num_bytes = sum(path.stat().st_size for path in place.content.rglob("*") if path.is_file())
    _make_durable(place.content)
    _rename(place, conversion.target)
    return Published(conversion.target, num_bytes, digest, source_digest, verdict, by_type(checked))


def _failed(verdict: Verdict) -> ProofFailed:
    first = verdict.failed[0]
    detail = f" {first.details[0]}." if first.details else ""
    return ProofFailed(
        f"{verdict.headline} {first.name.capitalize()}: {first.figure}.{detail} Nothing was published.",
        hint='Publish it all the same with --accept "REASON", which is recorded with your name.',
    )


def record(conversion: Conversion, place: Workplace, lineage: Lineage) -> None:
    """`fairway.json` in a folder; in a file the space that its layout keeps for it."""
    if conversion.is_folder:
        (place.output / FILE_NAME).write_text(lineage.to_json() + "\n", "utf-8")
        return
    [file] = conversion.files
    if file.lineage_space is None:
        raise InternalError(f"{file.name} has no place for its lineage.")
    begin, size = file.lineage_space
    text = lineage.to_json().encode("utf-8")
    if len(text) > size:
        raise InternalError(f"The lineage has {len(text)} bytes, {file.name} keeps {size} for it.")
    with place.output.open("r+b") as out:
        out.seek(begin)
        out.write(text.ljust(size))


def _source_digest(conversion: Conversion, checked: Sequence[Checked], small: Mapping[str, str]) -> str:
    """Of what the user named: hashed anew where the jobs read it unpacked or with adapters merged."""
    origin = conversion.origin or conversion.source
    if origin.tensors is not conversion.source.tensors:
        return bundle_digest(origin).value
    pairs = zip(conversion.jobs, checked, strict=True)
    known = {job.source: each.source_digest for job, each in pairs if job.rows.bundle is conversion.source}
    return _digest(origin, known, small)


def _digest(bundle: Bundle, known: dict[str, str], small: Mapping[str, str]) -> str:
    """Of the bundle; tensors that no job read, such as old buffers, are hashed now."""
    rest = [name for name in bundle.tensors.infos if name not in known]
    hashed = {name: tensor_digest(bundle, name) for name in rest}
    return digest_of_parts(bundle, known | hashed, small).value


def _digest_of_files(folder: Path) -> str:
    """Of a folder that is no bundle: its files by name, as their lines in `sha256sum` would be."""
    whole = hashlib.sha256()
    for name in sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()):
        digest = hashlib.sha256()
        with (folder / name).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
        whole.update(f"{digest.hexdigest()}  {name}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def _lineage(conversion: Conversion, digest: str, source_digest: str, proof: dict[str, Any]) -> Lineage:
    source = conversion.source
    step = Step(
        hop=conversion.hop,
        sources=(Origin(conversion.source_name, source.container, source_digest),),
        settings=conversion.settings,
        tools={"fairway": __version__, "numpy": np.__version__} | dict(_tools(conversion)),
        made=now(),
        proof=proof,
        accepted_by=None if proof["passed"] else f"{getpass.getuser()}: {conversion.accept}",
    )
    return Lineage(digest, (source.lineage or Lineage()).then(step))


def _tools(conversion: Conversion) -> Mapping[str, str]:
    return {} if conversion.finish is None else conversion.finish.tools


def _make_durable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _rename(place: Workplace, target: Path) -> None:
    """One rename for a new target or a file; where a folder is involved, what is there steps aside."""
    is_link = target.is_symlink()
    if (target.is_dir() and not is_link) or (place.output.is_dir() and (target.exists() or is_link)):
        target.rename(place.folder / "replaced")
    place.output.replace(target)
    place.remove()
