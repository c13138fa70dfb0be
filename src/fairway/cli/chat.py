"""A conversation in the terminal: read a line, stream the answer, remember both.

Ctrl-C stops the answer; at the prompt a second Ctrl-C, like Ctrl-D, leaves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import click

from fairway.cli.answering import Answer, answer
from fairway.engine.sampling_params import SamplingParams
from fairway.errors import RequestError
from fairway.runtimes.protocol import GenerationRequest, Runtime

PROMPT = ">>> "
HELP = """\
/help   show this
/clear  forget the conversation
/exit   leave (also Ctrl-D)
Ctrl-C  stop the answer
Text between two lines of three quotes (\"\"\") is one message."""
QUOTES = '"""'


@dataclass
class Conversation:
    """Messages so far, and how they become a prompt. `raw`: each text is continued on its own."""

    runtime: Runtime
    sampling: SamplingParams
    system: str | None = None
    raw: bool = False
    messages: list[dict[str, str]] = field(default_factory=list)

    def ask(self, text: str, show: Callable[[str], None]) -> Answer:
        """Answers `text`, which joins the conversation only if it could be answered."""
        asked = [*self.messages, {"role": "user", "content": text}]
        shown = show if self.raw else _from_first_word(show)
        result = answer(self.runtime, GenerationRequest(self._prompt_ids(asked), self.sampling), shown)
        if not self.raw:
            self.messages = [*asked, {"role": "assistant", "content": result.text}]
        return result

    def _prompt_ids(self, messages: list[dict[str, str]]) -> list[int]:
        if self.raw:
            return self.runtime.tokenizer.encode(messages[-1]["content"])
        system = [{"role": "system", "content": self.system}] if self.system else []
        return self.runtime.chat_prompt(system + messages)


def _from_first_word(show: Callable[[str], None]) -> Callable[[str], None]:
    """Many models begin an answer with a space, which belongs to their tokenizer and not to the answer."""
    begun = False

    def shown(piece: str) -> None:
        nonlocal begun
        piece = piece if begun else piece.lstrip()
        begun = begun or bool(piece)
        if piece:
            show(piece)

    return shown


def chat(conversation: Conversation, *, verbose: bool) -> None:
    """Until the user leaves."""
    with suppress(ImportError):
        import readline  # noqa: F401  gives input() editing and history

    click.echo(f"{conversation.runtime.info.name}: /help for help, Ctrl-D to leave.", err=True)
    for text in _lines():
        if text == "/exit":
            return
        if text == "/help":
            click.echo(HELP)
        elif text == "/clear":
            conversation.messages.clear()
            click.echo("The conversation is forgotten.")
        elif text.startswith("/") and " " not in text:
            click.echo(f"There is no command {text}; /help lists them.")
        elif text:
            _answer(conversation, text, verbose)


def _answer(conversation: Conversation, text: str, verbose: bool) -> None:
    try:
        result = conversation.ask(text, show)
    except RequestError as error:
        click.secho(f"{error.message} {error.hint or '/clear starts afresh.'}", fg="red", err=True)
        return
    click.echo(" [stopped]" if result.finish_reason == "stopped" else "")
    if verbose:
        click.secho(result.speed, dim=True, err=True)


def show(text: str) -> None:
    """Writes a piece of an answer at once."""
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def _lines() -> Iterator[str]:
    """What the user types, message by message."""
    warned = False
    while True:
        try:
            text = input(PROMPT).strip()
            yield _quoted(text) if text.startswith(QUOTES) else text
            warned = False
        except EOFError:
            click.echo()
            return
        except KeyboardInterrupt:
            click.echo()
            if warned:
                return
            warned = True
            click.echo("Ctrl-C again, or Ctrl-D, leaves.", err=True)


def _quoted(first: str) -> str:
    """The lines between two `\"\"\"`."""
    text = first.removeprefix(QUOTES)
    while not text.rstrip().endswith(QUOTES):
        text += "\n" + input("... ")
    return text.rstrip().removesuffix(QUOTES).strip("\n")
