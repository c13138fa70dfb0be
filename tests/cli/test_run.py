"""`fairway run` in a real terminal and in a pipe, with a model that speaks as slowly as told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pty")
from terminal import Terminal

PROGRAM = [sys.executable, str(Path(__file__).parent / "fake_model.py")]
SLOW = {"FAIRWAY_TEST_WORDS": "10000", "FAIRWAY_TEST_PAUSE_S": "0.05"}


def chat(*flags: str, **environment: str) -> Terminal:
    return Terminal([*PROGRAM, "run", "fake", *flags], environment)


def run(*flags: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, "run", *flags],
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_a_conversation_remembers(tmp_path):
    with chat("--system", "Be brief.", FAIRWAY_TEST_WORDS="2", FAIRWAY_TEST_ECHO="1") as screen:
        screen.expect("/help for help")
        screen.expect(">>> ")
        screen.type("Hello\n")
        screen.expect("[<system>Be brief.<user>Hello]")
        screen.expect("word0 word1")
        screen.expect(">>> ")
        screen.type("And you?\n")
        screen.expect("[<system>Be brief.<user>Hello<assistant>word0 word1 <user>And you?]")
        screen.expect(">>> ")
        screen.type("/clear\n")
        screen.expect("forgotten")
        screen.type("Again\n")
        screen.expect("[<system>Be brief.<user>Again]")
        screen.expect(">>> ")
        screen.type("/exit\n")
        assert screen.wait() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program():
    with chat(**SLOW, FAIRWAY_TEST_ECHO="1") as screen:
        screen.expect(">>> ")
        screen.type("Count\n")
        screen.expect("word3")
        screen.control("C")
        screen.expect("[stopped]")
        screen.expect(">>> ")
        screen.type("Go on\n")
        screen.expect("<assistant>word0 word1 word2 word3 ")
        screen.expect("word2")
        screen.control("C")
        screen.expect("[stopped]")
        screen.expect(">>> ")
        screen.control("D")
        assert screen.wait() == 0


def test_a_second_ctrl_c_at_the_prompt_leaves():
    with chat() as screen:
        screen.expect(">>> ")
        screen.control("C")
        screen.expect("Ctrl-C again, or Ctrl-D, leaves.")
        screen.expect(">>> ")
        screen.type("Hello\n")
        screen.expect("word4")
        screen.expect(">>> ")
        screen.control("C")
        screen.expect("Ctrl-C again")
        screen.expect(">>> ")
        screen.control("C")
        assert screen.wait() == 0


def test_commands_of_the_chat():
    with chat() as screen:
        screen.expect(">>> ")
        screen.type("/help\n")
        screen.expect("forget the conversation")
        screen.type("/hepl\n")
        screen.expect("There is no command /hepl; /help lists them.")
        screen.expect(">>> ")
        screen.control("D")
        assert screen.wait() == 0


def test_lines_between_quotes_are_one_message():
    with chat(FAIRWAY_TEST_ECHO="1", FAIRWAY_TEST_WORDS="1") as screen:
        screen.expect(">>> ")
        screen.type('"""one\n')
        screen.expect("... ")
        screen.type('two"""\n')
        screen.expect("[<user>one\ntwo]")


def test_a_prompt_that_does_not_fit_is_said_and_the_chat_goes_on():
    with chat("--verbose") as screen:
        screen.expect(">>> ")
        screen.type('"""' + "x" * 400 + "\n" + "y" * 400 + '"""\n')
        screen.expect("tokens and 512 fit. /clear starts afresh.")
        screen.expect(">>> ")
        screen.type("Hello\n")
        screen.expect("word4")
        screen.expect("5 tokens at")


def test_without_a_chat_template_it_continues_and_says_so_once():
    with chat(FAIRWAY_TEST_TEMPLATE="0", FAIRWAY_TEST_ECHO="1") as screen:
        before = screen.expect(">>> ")
        assert before.count("no chat template") == 1
        screen.type("Once upon\n")
        screen.expect("[Once upon]")
        screen.expect(">>> ")
        screen.type("a time\n")
        assert "no chat template" not in screen.expect("[a time]")


def test_one_prompt_one_answer():
    done = run("fake", "Hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "word0 word1 word2 word3 word4 \n", "")


@pytest.mark.parametrize(
    ("flags", "stdin", "asked"),
    [
        (["fake", "Hello"], "", "[<user>Hello]"),
        (["fake", "Summarise"], "a text\n", "[<user>Summarise\n\na text]"),
        (["fake"], "only piped\n", "[<user>only piped]"),
        (["fake", "Hello", "--system", "S"], "", "[<system>S<user>Hello]"),
        (["fake", "Hello", "--raw"], "", "[Hello]"),
    ],
)
def test_what_the_model_is_asked(flags, stdin, asked):
    assert asked in run(*flags, stdin=stdin, FAIRWAY_TEST_ECHO="1").stdout


def test_json_and_verbose():
    answer = json.loads(run("fake", "Hello", "--json", "--max-tokens", "3").stdout)
    assert answer["text"] == "word0 word1 word2 " and answer["finish_reason"] == "length"
    assert (answer["prompt_tokens"], answer["completion_tokens"]) == (12, 3)
    assert "first token after" in run("fake", "Hello", "--verbose").stderr


def test_no_prompt_and_no_terminal_is_an_error():
    done = run("fake")
    assert done.returncode == 2 and "There is no prompt" in done.stderr


def test_ctrl_c_during_a_single_answer_ends_the_program():
    with Terminal([*PROGRAM, "run", "fake", "Hello"], SLOW) as screen:
        screen.expect("word2")
        screen.control("C")
        assert screen.wait() == 130
        assert "Traceback" not in screen.text


def test_an_answer_begins_with_its_first_word():
    """The built-in model's first token carries its tokenizer's space."""
    command = [sys.executable, "-m", "fairway", "run", "builtin", "Tell me a story.", "--max-tokens", "4"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert answer and not answer[0].isspace()
    raw = subprocess.run(
        [*command, "--raw", "--temperature", "0"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert raw[0].isspace()
