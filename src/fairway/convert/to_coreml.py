"""A Hugging Face folder as a Core ML package: built and read back on any machine, run only on Apple's.

The rule: the output says that it was not run. What can be known here is checked: every matrix of the package
is the source's to the bit, or rounded to float16 once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fairway.convert.coreml_package import weights
from fairway.convert.coreml_program import coreml_model, quiet
from fairway.convert.graph_runtimes import library
from fairway.convert.job import Conversion
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.to_onnx import DATA_NAME, huggingface_to_onnx
from fairway.errors import SettingsError
from fairway.formats.bundle import Bundle
from fairway.formats.open import ONNX_NAME, open_bundle
from fairway.models.conversion import floats_of
from fairway.models.families import read_config
from fairway.proof.verdict import Check, judged
from fairway.tensors import F32, Array

PACKAGE = "model.mlpackage"
TYPES = ("F16", "F32")
MOST_CONTEXT = 4096
"""Tokens that the states hold: they lie in memory whole, however short the text."""
NOT_RUN = "not run, which takes Apple hardware"


@dataclass(frozen=True)
class WritePackage:
    """Makes the package from the weights that were written and checked."""

    type: str
    leftovers: tuple[str, ...] = (ONNX_NAME, DATA_NAME)

    def run(self, source: Bundle, folder: Path) -> Check:
        config = read_config(source.config, source.config_name)
        tensors = open_bundle(folder, complete=False).tensors
        context = min(config.max_context, MOST_CONTEXT)
        model = coreml_model(
            config, lambda name: floats_of(tensors.read(name)), context, half=self.type == "F16"
        )
        model.short_description = f"{source.name}, written by Fairway; {NOT_RUN}."
        model.save(str(folder / PACKAGE))
        stored = list(weights(folder / PACKAGE))
        matrices = {name: info for name, info in tensors.infos.items() if len(info.shape) > 1}
        lost = [name for name in matrices if not _is_among(floats_of(tensors.read(name)), stored)]
        figure = f"{len(matrices) - len(lost)} of {len(matrices)} matrices read back equal; {NOT_RUN}"
        return judged("Core ML", not lost, figure, "every matrix is in the package", tuple(lost[:1]))

    @property
    def tools(self) -> Mapping[str, str]:
        return {"coremltools": version("coremltools")}


def _is_among(matrix: F32, stored: list[tuple[str, Array]]) -> bool:
    """As it is or turned, which is how coremltools keeps a weight that comes input first."""
    for _, values in stored:
        for each in (values, values.T):
            if each.shape == matrix.shape and np.array_equal(each.astype(np.float32), matrix):
                return True
    return False


def to_coreml(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Raises `MissingExtra` before anything is written where coremltools is missing."""
    wanted = "F16" if settings.type == STORED else settings.type
    if wanted not in TYPES:
        raise SettingsError(
            f"A Core ML package is written in {' and '.join(TYPES)}, not {wanted}.",
            hint="Choose --type f16 (the default) or f32.",
            param="type",
        )
    with quiet():
        library("coremltools", "coreml")
    conversion = huggingface_to_onnx(bundle, replace(settings, type=wanted), target)
    config = read_config(bundle.config, bundle.config_name)
    notes = [f"The package was {NOT_RUN}: only its weights are proved here."]
    if config.max_context > MOST_CONTEXT:
        notes.append(f"Its states hold {MOST_CONTEXT:,} of the model's {config.max_context:,} tokens.")
    return replace(conversion, settings={"type": wanted}, notes=tuple(notes), finish=WritePackage(wanted))
