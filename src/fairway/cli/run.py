"""`fairway run [MODEL] [PROMPT]`: chat in the terminal, or one answer to a prompt or a pipe."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.adapters import adapted
from fairway.cli.memory_end import within_memory
from fairway.cli.options import HELP, engine_options, engine_settings, json_option
from fairway.cli.prepare import load, plan_model
from fairway.cli.screen import screen_for
from fairway.errors import UsageError

if TYPE_CHECKING:
    from fairway.cli.chat import Conversation
    from fairway.engine.sampling_params import SamplingParams
    from fairway.runtimes.protocol import Runtime

NO_TEMPLATE = "This model has no chat template: it continues your text instead of answering it."


@click.command(context_settings=HELP)
@click.argument("model", required=False)
@click.argument("prompt", required=False)
@click.option("--system", help="What the model is told before the conversation.")
@click.option("--temperature", type=click.FloatRange(0, 100), help="0 always takes the likeliest token.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="Choose among this probability mass."
)
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, in tokens.")
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same answer.")
@click.option("--raw", is_flag=True, help="Continue the text as it is, without the chat template.")
@click.option(
    "--lora",
    metavar="[NAME=]PATH",
    help="Answer with the LoRA adapter at PATH (PEFT's folder or a GGUF file).",
)
@click.option("--verbose", is_flag=True, help="Print time to first token and tokens per second.")
@engine_options
@json_option
def run(model: str | None, prompt: str | None, verbose: bool, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Talk to MODEL, or answer one PROMPT and end.

    What is piped in joins the prompt: cat notes.txt | fairway run MODEL "summarise". MODEL is a
    folder, a .gguf or .safetensors file, a hub id, or "builtin".
    """
    from fairway.cli.chat import Conversation, chat

    prompt = _with_pipe(prompt)
    if as_json and prompt is None:
        raise UsageError("--json needs a prompt.", hint='fairway run builtin "Tell me a story." --json')
    screen = screen_for(as_json, quiet=not verbose)
    planned = plan_model(model, engine_settings(flags), screen)
    with within_memory(planned), closing(load(planned, screen)) as base:
        runtime = base if flags["lora"] is None else adapted(base, flags["lora"], screen)
        raw = flags["raw"] or not runtime.info.has_chat_template
        if raw and not flags["raw"]:
            click.echo(NO_TEMPLATE, err=True)
        conversation = Conversation(runtime, _sampling(runtime, flags), flags["system"], raw)
        if prompt is None:
            chat(conversation, verbose=verbose)
        else:
            _answer_once(conversation, prompt, verbose, as_json)


def _answer_once(conversation: Conversation, prompt: str, verbose: bool, as_json: bool) -> None:
    from fairway.cli.chat import show

    result = conversation.ask(prompt, (lambda _: None) if as_json else show)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
        return
    click.echo()
    if verbose:
        click.secho(result.speed, dim=True, err=True)
    if result.finish_reason == "stopped":
        raise KeyboardInterrupt


def _with_pipe(prompt: str | None) -> str | None:
    """The prompt with what was piped in; None to chat."""
    if sys.stdin is None or sys.stdin.isatty():
        return prompt
    piped = sys.stdin.read().strip("\n")
    if prompt is None and not piped:
        raise UsageError(
            "There is no prompt and no terminal to type one.", hint='Try: fairway run builtin "Hello"'
        )
    return "\n\n".join(part for part in (prompt, piped) if part)


def _sampling(runtime: Runtime, flags: dict[str, Any]) -> SamplingParams:
    """The model's own defaults, where no flag says otherwise."""
    names = ("temperature", "top_p", "max_tokens", "seed")
    return replace(runtime.defaults, **{name: flags[name] for name in names if flags[name] is not None})
