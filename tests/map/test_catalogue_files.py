"""Files of the user: what they add and correct, and what is said when one is wrong."""

import pytest

from fairway.errors import SettingsError, UsageError
from fairway.map.catalogue import load_catalogue
from fairway.settings import MOST_BYTES

NOWHERE = {"XDG_CONFIG_HOME": "/nonexistent"}
SOURCES = 'sources = ["fairway"]'
MISTAKES = {
    "not TOML": ("[tools.vllm", "is not valid TOML"),
    "unknown table": ("[tolls.vllm]\nname = 'x'", "unknown table [tolls]. Did you mean tools?"),
    "not a table": ("tools = 3", "tools must hold tables, as in [tools.NAME]"),
    "no name": ("[tools]\nvllm = 3", "[tools] vllm must be a table: [tools.vllm]"),
    "unknown key": ("[tools.vllm]\nraeds = []", "[tools.vllm] has an unknown key raeds. Did you mean reads?"),
    "missing key": ("[terms.mine]\nname = 'Mine'", "[terms.mine] lacks the key text"),
    "wrong type": (
        "[hardware.h100]\nmemory_gb = 'many'",
        "[hardware.h100] memory_gb is 'many'; it must be a number",
    ),
    "a number for a list": ("[tools.vllm]\nreads = 1", "[tools.vllm] reads is 1; it must be a list"),
    "a number in a list": ("[tools.vllm]\nreads = [1]", "[tools.vllm] reads[0] is 1; it must be a text"),
    "true for a number": (
        "[stages.run]\norder = true",
        "[stages.run] order is True; it must be a whole number",
    ),
    "unknown choice": (
        "[tools.vllm]\nkind = 'servre'",
        "[tools.vllm] kind is 'servre'. Did you mean server?",
    ),
    "unknown reference": (
        "[tools.vllm]\nreads = ['safetensor']",
        "[tools.vllm] reads names safetensor, which is not in the catalogue. Did you mean safetensors?",
    ),
    "reference within": (
        "[disagreements.tgi-status]\nstatements = [{source = 'artikel-4', says = 'x'}]",
        "[disagreements.tgi-status] statements[0] source names artikel-4",
    ),
    "no date": (
        "[prices.aws-h100]\ndate = 'yesterday'",
        "[prices.aws-h100] date is 'yesterday', which is no date",
    ),
    "a day that is none": ("[prices.aws-h100]\ndate = '2026-13-01'", "which is no date"),
    "not a number": ("[hardware.h100]\nmemory_gb = nan", "[hardware.h100] memory_gb is nan"),
    "without an end": ("[prices.aws-h100]\nlow = inf", "[prices.aws-h100] low is inf"),
    "below nothing": ("[prices.aws-h100]\nlow = -3", "[prices.aws-h100] low is -3.0"),
    "said twice": ("[tools.vllm]\nname = 'a'\n[tools.vllm]\nname = 'b'", "is not valid TOML: Cannot declare"),
    "nested without end": ("a = " + "[" * 100_000, "is nested too deeply"),
    "empty in a list": (
        "[tools.vllm]\nreads = ['']",
        "[tools.vllm] reads names , which is not in the catalogue",
    ),
}
LINES = {
    "a key": (
        "# mine\n\n[tools.vllm]\nname = 'x'\nraeds = []",
        "line 5: [tools.vllm] has an unknown key raeds",
    ),
    "a lacking key": ("\n[terms.mine]\nname = 'Mine'", "line 2: [terms.mine] lacks the key text"),
    "one line": ("[prices]\naws-h100 = { low = 'x' }", "line 2: [prices.aws-h100] low is 'x'"),
    "quoted": ('[tools."vllm"]\nreads = 1', "line 2: [tools.vllm] reads is 1"),
    "Windows": ("[tools.vllm]\r\nname = 'x'\r\nreads = 1\r\n", "line 3: [tools.vllm] reads is 1"),
    "a reference": ("[tools.vllm]\nreads = [\n'nope']", "line 2: [tools.vllm] reads names nope"),
    "an unknown table": ("\n[tolls.vllm]\nname = 'x'", "line 2: unknown table [tolls]"),
}


@pytest.fixture
def write(tmp_path):
    def written(text, name="mine.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return written


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_with_file_table_and_key(write, mistake):
    text, said = MISTAKES[mistake]
    path = write(text)
    with pytest.raises(SettingsError) as caught:
        load_catalogue([path], NOWHERE)
    assert str(path) in str(caught.value) and said in str(caught.value)
    assert caught.value.hint and "\n" not in caught.value.message


@pytest.mark.parametrize("mistake", LINES)
def test_a_mistake_is_found_in_its_line(tmp_path, mistake):
    text, said = LINES[mistake]
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode())
    with pytest.raises(SettingsError) as caught:
        load_catalogue([path], NOWHERE)
    assert f"{path}, {said}" in caught.value.message


def test_a_key_is_blamed_on_the_file_that_says_it(write):
    first, second = write("[tools.vllm]\nreads = 1", "a.toml"), write("[tools.vllm]\nname = 'x'", "b.toml")
    with pytest.raises(SettingsError, match=rf"{first}, line 2: \[tools.vllm\] reads"):
        load_catalogue([first, second], NOWHERE)


def test_what_is_no_file_to_read_is_named(tmp_path):
    binary, large = tmp_path / "binary.toml", tmp_path / "large.toml"
    binary.write_bytes(b"# one\n\xff\xfe")
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for path, said in (
        (tmp_path / "none.toml", "cannot be read: No such file"),
        (tmp_path, "cannot be read: Is a directory"),
        (binary, "is not UTF-8 text (line 2)"),
        (large, "is larger than 16 MiB"),
    ):
        with pytest.raises(SettingsError) as caught:
            load_catalogue([path], NOWHERE)
        assert caught.value.message.startswith(f"{path} {said}") and caught.value.hint


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf[hardware.h100]\r\nmemory_gb = 7\r\n")
    assert load_catalogue([path], NOWHERE).hardware["h100"].memory_gb == 7.0


def test_a_file_corrects_one_key_and_leaves_the_others(write):
    before = load_catalogue(environment=NOWHERE).prices["aws-h100"]
    after = load_catalogue([write('[prices.aws-h100]\nlow = 4.2\ndate = "2026-11-01"')], NOWHERE).prices[
        "aws-h100"
    ]
    assert (after.low, after.date) == (4.2, "2026-11-01")
    assert (after.provider, after.hardware) == (before.provider, before.hardware)


def test_a_file_adds_hardware_tools_and_terms(write):
    text = f"""
        [hardware.mine]
        name = "My box"
        vendor = "nvidia"
        kind = "gpu"
        memory_gb = 96
        {SOURCES}
        [terms.house-word]
        name = "House word"
        text = "What we call it."
        {SOURCES}
    """
    catalogue = load_catalogue([write(text)], NOWHERE)
    assert catalogue.device("my box").memory_gb == 96.0
    assert catalogue.terms["house-word"].text == "What we call it."


def test_the_folder_beside_the_settings_is_read_in_order(write, tmp_path):
    write("[hardware.h100]\nmemory_gb = 1", "fairway/catalogue/a.toml")
    write("[hardware.h100]\nmemory_gb = 2", "fairway/catalogue/b.toml")
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert load_catalogue(environment=environment).hardware["h100"].memory_gb == 2.0
    last = write("[hardware.h100]\nmemory_gb = 3")
    assert load_catalogue([last], environment).hardware["h100"].memory_gb == 3.0


def test_an_unknown_device_is_answered_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        load_catalogue(environment=NOWHERE).device("RTX 4070")
    assert "There is no device named RTX 4070" in str(caught.value) and "Did you mean rtx40" in str(
        caught.value
    )
    with pytest.raises(UsageError, match=r"There are: .*NVIDIA H100 SXM"):
        load_catalogue(environment=NOWHERE).device("zzzzzzzzzz")
