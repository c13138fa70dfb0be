"""`fairway`: a table of commands, and the one place where an error becomes a sentence.

Importing this module imports click and nothing else heavy; a command's module is imported when
the command runs. A user never meets a traceback unless FAIRWAY_DEBUG=1 asks for it.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Sequence

import click

from fairway import __version__
from fairway.cli.memory_end import memory_ended, without_plan
from fairway.errors import FairwayError

# name -> (module, one line of help). The module holds a click command of the same name.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("fairway.cli.up", "Prepare a model, check it and serve it: the whole way in one command."),
    "run": ("fairway.cli.run", "Talk to a model in the terminal, or answer one prompt."),
    "serve": ("fairway.cli.serve", "Serve one or more models over HTTP."),
    "plan": ("fairway.cli.plan", "Plan the way from a model to an endpoint: memory, speed, cost, and why."),
    "doctor": ("fairway.cli.doctor", "Say what this machine and installation can do, and what is wrong."),
    "bench": ("fairway.cli.bench", "Measure how fast a model reads and writes on this machine."),
    "convert": ("fairway.cli.convert", "Change a model's container or types, and check every tensor."),
    "verify": ("fairway.cli.verify", "Prove that one model is another, or show where they differ."),
    "quantize": ("fairway.cli.quantize", "Make a model's weights smaller: one GGUF file of a type or mix."),
    "tensorrt": ("fairway.cli.tensorrt", "Build a TensorRT engine for this GPU, as a cache entry."),
    "tune": ("fairway.cli.tune", "Fine-tune a model on a file of examples, or check the file."),
    "gate": ("fairway.cli.gate", "Score a model's stages on held-out data, as they are served."),
    "merge": ("fairway.cli.merge", "Merge LoRA adapters into a 16-bit model, or into one adapter."),
    "inspect": ("fairway.cli.inspect", "Say what a model file is, from its header only."),
    "lora": ("fairway.cli.lora", "List, load and unload the LoRA adapters of a running server."),
    "map": ("fairway.cli.map", "Show every tool of the field, where it belongs and whether it runs here."),
    "explain": ("fairway.cli.explain", "Say what a word of the field means, and where it lives in Fairway."),
    "cache": ("fairway.cli.cache", "List or clear the packed weights and engines that are kept on disk."),
}

INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE
LONG_WORD, LONGEST_WORD = re.compile(r"\S{1000,}"), 60


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(_unknown_command(name), ctx)
        return super().resolve_command(ctx, args)


def _unknown_command(name: str) -> str:
    if os.path.exists(name):  # noqa: PTH110  pathlib is not needed for help
        return f"{name} is a path, not a command. Say what to do with it: fairway up {name}"
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"Did you mean fairway {nearest[0]}?" if nearest else f"There are: {', '.join(COMMANDS)}."
    return f"There is no command {name}. {hint}"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="MODEL is a Hugging Face folder, a .gguf or .safetensors file, a hub id such as org/name or "
    "org/name:Q4_K_M, or nothing for the built-in model.",
)
@click.version_option(__version__, "-V", "--version", message="fairway %(version)s")
def fairway() -> None:
    """Carries an AI model from checkpoint to production endpoint."""


def main(args: Sequence[str] | None = None) -> None:
    """Runs a command and exits with its code."""
    sys.exit(run(args))


def run(args: Sequence[str] | None = None) -> int:
    """Runs a command; every failure ends as one sentence and an exit code."""
    if os.environ.get("FAIRWAY_DEBUG") == "1":
        return _invoke(args)
    try:
        return _invoke(args)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        return _usage_error(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return _broken_pipe()
    except FairwayError as error:
        return _failure(error)
    except OSError as error:
        if memory_ended(error):
            return _failure(without_plan())
        _say("Error", f"{error.filename or 'The system says'}: {error.strerror or error}.", None)
        return FairwayError.exit_code
    except Exception as error:  # noqa: BLE001  the last line of defence: our mistake, told as one
        if memory_ended(error):
            return _failure(without_plan())
        _say(
            "Internal error",
            f"{type(error).__name__}: {error}",
            "Run again with FAIRWAY_DEBUG=1 to see where.",
        )
        return FairwayError.exit_code


def _invoke(args: Sequence[str] | None) -> int:
    result = fairway.main(args=args, prog_name="fairway", standalone_mode=False)
    if sys.stdout is not None:  # closed by whoever started us: fairway ... >&-
        sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _failure(error: FairwayError) -> int:
    _say("Error", error.message, error.hint)
    return error.exit_code


def _usage_error(error: click.ClickException) -> int:
    hint = None
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"See {error.ctx.command_path} --help."
    _say("Error", error.format_message(), hint)
    return error.exit_code


def _broken_pipe() -> int:
    """The reader went away (`fairway ... | head`): stop quietly, and keep exit from complaining again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _say(kind: str, message: str, hint: str | None) -> None:
    click.secho(f"{kind}: ", fg="red", bold=True, nl=False, err=True)
    click.echo(_printable(message), err=True)
    if hint:
        click.secho(_printable(hint), fg="yellow", err=True)


def _printable(text: str) -> str:
    """What a user typed is shown, never carried out by a terminal; a word without end is cut."""
    text = LONG_WORD.sub(lambda word: f"{word[0][:LONGEST_WORD]}...", text)
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


if __name__ == "__main__":
    main()
