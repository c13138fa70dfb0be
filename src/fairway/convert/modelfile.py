"""A bundle as Ollama's Modelfile: what its files cannot say is said by instructions.

The template is the one that the bundle came with, else one with the behaviour of its Jinja template
(text/go_from_jinja.py). The weights stay where they are; FROM names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fairway.errors import UnsupportedError
from fairway.formats.atomic import atomic_file
from fairway.formats.bundle import Bundle, Preset
from fairway.formats.modelfile import Instruction, Modelfile, modelfile_text
from fairway.formats.open_modelfile import GENERATION, PRESET
from fairway.text.go_from_jinja import GoSource, go_from_jinja
from fairway.text.loader import load_template, load_tokenizer
from fairway.text.tokenizer import Tokenizer

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
    comments = "".join(f"# {' '.join(note.split())}\n" for note in notes)
    with atomic_file(path) as file:
        file.write((comments + modelfile_text(modelfile)).encode("utf-8"))
    return Written(path, modelfile, notes)


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
    target = Path(model if model is not None else bundle.sources[0].path if bundle.preset else bundle.path)
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
    try:
        found = go_from_jinja(load_template(bundle.chat_template, tokenizer), bos=written_by_ollama)
    except UnsupportedError as error:
        found = GoSource("", (error.message,))
    return found.source or None, found.notes


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
