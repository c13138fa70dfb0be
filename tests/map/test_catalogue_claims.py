"""Every command that the catalogue says Fairway has exists, with each flag and choice."""

import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from fairway.cli.main import COMMANDS
from fairway.map.catalogue import load_catalogue

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
ROOT = Path(__file__).parents[2]
SAID = re.compile(r"fairway [a-z]+(?: --[a-z0-9-]+)*")


def commands():
    """Every command line of the catalogue, with who says it."""
    for tool in CATALOGUE.tools.values():
        yield from ((f"tools.{tool.id}", command) for command in tool.commands)
    for stage in CATALOGUE.stages.values():
        yield from ((f"stages.{stage.id}", command) for command in stage.commands)
    for lane in CATALOGUE.conversions.values():
        if lane.by == "fairway":
            yield f"conversions.{lane.id}", lane.how


def sentences():
    """Every sentence that speaks of what Fairway does, with who says it."""
    for tool in CATALOGUE.tools.values():
        yield f"tools.{tool.id}", tool.says
    for term in CATALOGUE.terms.values():
        yield f"terms.{term.id}", term.fairway


def command_of(name):
    assert name in COMMANDS, f"there is no command fairway {name}"
    return getattr(importlib.import_module(COMMANDS[name][0]), name)


def check(words):
    """Each flag is one of the command's, and what follows it one of its choices."""
    command = command_of(words[1])
    flags = {flag: each for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    for at, word in enumerate(words[2:], start=2):
        if not word.startswith("--"):
            continue
        assert word in flags, f"fairway {words[1]} has no {word}"
        option, follows = flags[word], words[at + 1 : at + 2]
        if isinstance(option.type, click.Choice) and follows:
            assert follows[0] in option.type.choices, f"{word} takes no {follows[0]}"


@pytest.mark.parametrize(("place", "command"), sorted(set(commands())))
def test_a_command_that_is_named_exists(place, command):
    words = shlex.split(command)
    assert words[0] == "fairway", place
    check(words)


def test_commands_within_sentences_exist():
    found = [(place, said) for place, text in sentences() for said in SAID.findall(text)]
    assert len(found) >= 15
    for place, said in found:
        words = said.split()
        assert words[1] in COMMANDS, (place, said)
        flags = {flag for each in command_of(words[1]).params for flag in (*each.opts, *each.secondary_opts)}
        assert flags.issuperset(word for word in words if word.startswith("--")), (place, said)


def test_whatever_fairway_does_has_a_command_or_a_file():
    for tool in CATALOGUE.tools.values():
        if tool.fairway != "knows":
            assert tool.commands or tool.paths, tool.id


def test_nothing_that_fairway_does_itself_needs_an_account():
    for tool in CATALOGUE.tools.values():
        assert not (tool.fairway == "native" and "account" in tool.needs), tool.id


def test_what_trains_says_that_it_needs_pytorch():
    for tool in CATALOGUE.tools.values():
        trains = tool.fairway == "native" and any(each.startswith("fairway tune") for each in tool.commands)
        assert trains <= (tool.extra == "tune"), tool.id
    extras = {tool.extra for tool in CATALOGUE.tools.values()} - {""}
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert all(re.search(rf"^{extra} = \[", text, re.MULTILINE) for extra in extras)
