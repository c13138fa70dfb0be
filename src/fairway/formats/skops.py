"""skops' archives of scikit-learn models, as far as they are known without building anything."""

from __future__ import annotations

from pathlib import Path

from fairway.formats.bundle import Bundle, GenerationDefaults
from fairway.formats.onnx_tensors import OnnxTensors
from fairway.formats.source import Source, file_digest


def skops_bundle(path: Path) -> Bundle:
    """A bundle without tensors: which of its arrays mean what is known to scikit-learn alone."""
    source = Source(path)
    return Bundle(
        name=path.stem,
        path=path,
        container="skops",
        config={"sha256": file_digest(source)},
        tensors=OnnxTensors({}, (source,)),
        tokenizer=None,
        chat_template=None,
        generation=GenerationDefaults(),
        end_of_text_ids=(),
        sources=(source,),
    )
