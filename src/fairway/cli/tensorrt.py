"""`fairway tensorrt MODEL`: an engine for the GPU at hand, kept under the key of all that it depends on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, engine_settings, json_option
from fairway.cli.screen import screen_for

if TYPE_CHECKING:
    from fairway.convert.tensorrt_plan import EnginePlan, EngineSettings


@click.command(context_settings=HELP)
@click.argument("model")
@click.option("--type", "precision", type=click.Choice(("f32", "f16", "bf16")), default="f16",
              help="What the engine computes in.")  # fmt: skip
@click.option("--max-batch", type=click.IntRange(1), default=8, help="Texts at once, at most.")
@click.option("--max-context", type=click.IntRange(2), default=4096, help="Tokens of a text, at most.")
@click.option("--size", "sizes", multiple=True, metavar="NAME=MIN:USUAL:MAX",
              help="Sizes of a dimension that an ONNX graph leaves open.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the key and the commands, and build nothing.")
@json_option
def tensorrt(model: str, dry_run: bool, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Build a TensorRT engine of MODEL, a Hugging Face folder or an ONNX file, unless it is there already.

    Decoders go through trtllm-build, graphs through trtexec, which must be installed. An engine is no model:
    it is a cache entry for one GPU, version, shapes, precision and source, and is built anew when one of
    these changes. `fairway cache` lists and clears engines.
    """
    from fairway.convert import tensorrt_engine as engines
    from fairway.convert.tensorrt_plan import EngineKey, EngineSettings, parse_size

    sizes = dict(map(parse_size, flags.pop("sizes")))
    settings = EngineSettings(precision=flags.pop("precision").upper(), sizes=sizes, **flags)
    name, source, plan, files = _planned(model, settings)
    machine = engines.look_around(plan)
    if not dry_run:
        engines.check_machine(machine, plan)
    places = engine_settings({})
    key = EngineKey(
        tool=machine.tool or f"{plan.tool}, not found here",
        gpu=machine.gpu or "none found here",
        shapes=plan.shapes,
        precision=settings.precision,
        source=_digest(files, places.packed_folder),
    )
    commands = plan.commands(places.engines_folder / key.value, machine.python)
    about = {"model": name, "key": vars(key), "digest": key.value, "commands": commands}
    if dry_run:
        _tell_plan(about, as_json)
        return
    screen = screen_for(as_json)
    wanted = engines.Wanted(name, source, key, plan, machine.python)
    with screen.step(f"Engine of {name}"):
        cache = engines.EngineCache(places.engines_folder)
        engine = cache.open(wanted, lambda line: screen.note(f"Building: {line}"))
    if as_json:
        result = {"folder": str(engine.folder), "built": bool(engine.reasons), "reasons": engine.reasons}
        click.echo(json.dumps(about | result, indent=1))
    else:
        click.echo(f"{engine.folder} {'built' if engine.reasons else 'found, nothing has changed'}")


def _planned(model: str, settings: EngineSettings) -> tuple[str, Path, EnginePlan, list[Path]]:
    """Name, source, how it is built, and the files it depends on."""
    from fairway.convert.tensorrt_plan import decoder_plan, graph_plan
    from fairway.errors import UnsupportedError
    from fairway.formats.open import ONNX_NAME, open_bundle
    from fairway.formats.open_graph import open_graph
    from fairway.formats.summary import config_sizes
    from fairway.registry.resolve import resolve

    located = resolve(model, None)
    graph = open_graph(located.path) or open_graph(located.path / ONNX_NAME)
    if graph is not None:
        files = [source.path for source in graph.sources] or [graph.path]
        return graph.path.stem, graph.path, graph_plan(graph, settings), [graph.path, *files]
    bundle = open_bundle(located.path)
    folder = bundle.path if bundle.path.is_dir() else bundle.path.parent
    if bundle.container not in ("huggingface", "safetensors"):
        raise UnsupportedError(
            f"TensorRT-LLM reads Hugging Face folders, and {bundle.path} is {bundle.container}.",
            hint="Make one of it first: fairway convert MODEL --to safetensors.",
        )
    files = [folder / "config.json", *(source.path for source in bundle.sources)]
    context = min(settings.max_context, config_sizes(bundle.config).get("context", settings.max_context))
    plan = decoder_plan(folder.resolve(), replace(settings, max_context=context))
    return bundle.name, folder, plan, files


def _digest(files: list[Path], folder: Path) -> str:
    """Of the source's files; those that were hashed before are known."""
    from fairway.models.source_digest import Fingerprint, KnownDigests, digest_of

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    prints = [Fingerprint.of(path) for path in dict.fromkeys(files)]
    return f"sha256:{digest_of(prints, KnownDigests(folder / 'digests.json'))}"


def _tell_plan(about: dict[str, Any], as_json: bool) -> None:
    from fairway.convert.tensorrt_engine import as_shell

    if as_json:
        click.echo(json.dumps(about, indent=1))
        return
    click.echo(f"{about['model']}, engine {about['digest']}")
    for name, value in about["key"].items():
        click.echo(f"  {name:<10} {value}")
    for line in as_shell(about["commands"]):
        click.echo(line)
