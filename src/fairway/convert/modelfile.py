"""A bundle as Ollama's Modelfile: what its files cannot say is said by instructions.

The template is the one that the bundle came with, else one with the behaviour of its Jinja template
(text/go_from_jinja.py). The weights stay where they are; FROM names them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fairway.convert.from_gguf import gguf_to_gguf
from fairway.convert.job import Conversion
from fairway.convert.settings import ConvertSettings
from fairway.convert.to_gguf import huggingface_to_gguf
from fairway.errors import UnsupportedError
from fairway.formats.atomic import atomic_file
from fairway.formats.bundle import Bundle, Preset
from fairway.formats.modelfile import FILE_NAME, Instruction, Modelfile, modelfile_text
from fairway.formats.open_modelfile import GENERATION, PRESET
from fairway.text.go_from_jinja import go_from_jinja
from fairway.text.loader import load_template, load_tokenizer
from fairway.text.tokenizer import Tokenizer

GGUF_NAME = "model.gguf"
MAX_STOPS = 16


@dataclass(frozen=True)
class Written:
    """What was written, and in sentences what it does not carry."""

    path: Path
    modelfile: Modelfile
    notes: tuple[str, ...]


def write_modelfile(bundle: Bundle, path: Path, model: Path | str | None = None) -> Written:
    """Writes `path` atomically; `model` is what FROM names, the bundle's own path by default.

    A chat template that Go cannot express is left out with a note: the GGUF file still carries it.
    """
    modelfile, notes = modelfile_of(bundle, _from(bundle, path, model))
    with atomic_file(path) as file:
        file.write(_with_notes(modelfile, notes))
    return Written(path, modelfile, notes)


def _with_notes(modelfile: Modelfile, notes: tuple[str, ...]) -> bytes:
    """Notes are comments above the instructions; whatever is in them stays on their lines."""
    comments = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    return (comments + modelfile_text(modelfile)).encode("utf-8")


def to_modelfile(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """The hop: a folder with a GGUF file of the wanted type and the Modelfile that names it."""
    to_gguf = gguf_to_gguf if bundle.container == "gguf" else huggingface_to_gguf
    conversion = to_gguf(bundle, settings, target / GGUF_NAME)
    modelfile, notes = modelfile_of(bundle, f"./{GGUF_NAME}")
    return replace(
        conversion,
        target=target,
        is_folder=True,
        sidecars={FILE_NAME: _with_notes(modelfile, notes)},
        notes=conversion.notes + notes,
    )


def modelfile_of(bundle: Bundle, model: str) -> tuple[Modelfile, tuple[str, ...]]:
    """The instructions, and the notes that belong above them."""
    preset = bundle.preset or Preset()
    tokenizer = None if bundle.tokenizer is None else load_tokenizer(bundle.tokenizer)
    template, notes = _template(bundle, tokenizer)
    instructions = [Instruction("from", model), *_parameters(bundle, preset)]
    instructions += [Instruction("parameter", stop, "stop") for stop in _stops(bundle, preset, tokenizer)]
    single = {"template": template, "system": preset.system, "requires": preset.requires}
    instructions += [Instruction(name, value) for name, value in single.items() if value]
    instructions += [Instruction("adapter", str(adapter)) for adapter in preset.adapters]
    instructions += [Instruction("message", content, role) for role, content in preset.messages]
    if bundle.licence:
        instructions.append(Instruction("license", bundle.licence))
    return Modelfile(tuple(instructions)), notes


def _from(bundle: Bundle, path: Path, model: Path | str | None) -> str:
    """Relative to the Modelfile where it lies beside or below it."""
    target = Path(bundle.path if model is None else model)
    try:
        return f"./{target.resolve().relative_to(path.resolve().parent)}"
    except ValueError:
        return str(target.resolve())


def _template(bundle: Bundle, tokenizer: Tokenizer | None) -> tuple[str | None, tuple[str, ...]]:
    if bundle.preset is not None and bundle.preset.ollama_template is not None:
        return bundle.preset.ollama_template, ()
    if bundle.chat_template is None or tokenizer is None:
        return None, ()
    bos = tokenizer.bos_token_id
    written_by_ollama = tokenizer.token_text(bos) if bos is not None and tokenizer.adds_bos else ""
    template = load_template(bundle.chat_template, tokenizer)
    try:
        found = go_from_jinja(template, bos=written_by_ollama)
    except UnsupportedError as error:
        return None, (error.message,)
    if not template.render([{"role": "user", "content": "Hello"}]).startswith(written_by_ollama):
        added = f"Ollama puts {written_by_ollama} before every prompt, the model's own template does not."
        return found.source, (*found.notes, added)
    return found.source, found.notes


def _parameters(bundle: Bundle, preset: Preset) -> list[Instruction]:
    values = [(name, getattr(bundle.generation, ours)) for name, ours in GENERATION.items()]
    values += [(name, getattr(preset, ours)) for name, ours in PRESET.items()]
    return [Instruction("parameter", _number(value), name) for name, value in values if value is not None]


def _number(value: float) -> str:
    """Every digit; whole numbers without a point."""
    return str(int(value)) if value == int(value) else repr(value)


def _stops(bundle: Bundle, preset: Preset, tokenizer: Tokenizer | None) -> list[str]:
    """The preset's, and the spellings of the ids that end an answer: GGUF has a place for few of them."""
    texts = [] if tokenizer is None else [tokenizer.token_text(each) for each in bundle.end_of_text_ids]
    return list(dict.fromkeys(text for text in (*preset.stop, *texts) if text))[:MAX_STOPS]
