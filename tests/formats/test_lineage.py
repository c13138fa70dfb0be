"""What a bundle was made from is written down once and read back, and what is broken is told."""

import pytest
from format_models import numbers
from hypothesis import given
from hypothesis import strategies as st

from fairway.errors import FormatError
from fairway.formats.completeness import missing_parts
from fairway.formats.lineage import GGUF_KEY, Lineage, Origin, Step, now, parse_lineage
from fairway.formats.open import open_bundle
from fairway.formats.pooling import Pooling

STEP = Step(
    "huggingface -> gguf",
    (Origin("small", "huggingface", "sha256:00"),),
    {"type": "Q8_0"},
    {"fairway": "1"},
    now(),
    {"tensors": {"equal": 3}},
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.lists(st.builds(Origin, TEXT, TEXT, TEXT), min_size=1), st.dictionaries(TEXT, TEXT))
def test_what_is_written_is_read(hop, sources, table):
    lineage = Lineage("sha256:ab", (Step(hop, tuple(sources), table, table, hop, table, hop),))
    assert parse_lineage(lineage.to_json().encode(), "x") == lineage


def test_a_folder_and_a_gguf_file_carry_it(folder, make_gguf):
    lineage = Lineage("sha256:ab", (STEP,))
    (folder / "fairway.json").write_text(lineage.to_json())
    assert open_bundle(folder).lineage == lineage
    path = make_gguf({"token_embd.weight": numbers(4, 32)}, **{GGUF_KEY: lineage.to_json()})
    assert open_bundle(path).lineage == lineage


def test_steps_are_added_at_the_end():
    assert Lineage(None, Lineage("a", (STEP,)).then(STEP)).steps == (STEP, STEP)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"version": 2}',
        '{"version": 1, "steps": 3}',
        '{"version": 1, "digest": 3, "steps": []}',
        '{"version": 1, "steps": [3]}',
        '{"version": 1, "steps": [{"hop": "x"}]}',
        '{"version": 1, "steps": [{"hop": "x", "sources": [3]}]}',
        '{"version": 1, "steps": [{"hop": "x", "sources": [{"name": "a"}]}]}',
        '{"version": 1, "steps": [{"hop": 3, "sources": []}]}',
        '{"version": 1, "steps": [{"hop": "x", "sources": [], "proof": 3}]}',
        '{"version": 1, "steps": [{"hop": "x", "sources": [], "surprise": 3}]}',
    ],
)
def test_broken_records_are_told_and_do_not_stop_the_model(folder, make_gguf, text):
    with pytest.raises(FormatError):
        parse_lineage(text.encode(), "x")
    (folder / "fairway.json").write_text(text)
    bundle = open_bundle(folder)
    assert bundle.lineage is None
    assert "fairway.json" in bundle.warnings[0]
    bundle = open_bundle(make_gguf({"token_embd.weight": numbers(4, 32)}, **{GGUF_KEY: text}))
    assert bundle.lineage is None
    assert GGUF_KEY in bundle.warnings[0]


def test_what_a_bundle_lacks_is_named_with_the_fix(folder):
    assert missing_parts(open_bundle(folder)) == []
    for name in ("tokenizer.json", "config.json"):
        (folder / name).unlink()
    parts = missing_parts(open_bundle(folder, complete=False))
    assert [part.name for part in parts] == ["config.json", "tokenizer.json", "end-of-text id"]
    assert all(part.fix for part in parts)


MODULES = """[{"path": "", "type": "sentence_transformers.models.Transformer"},
 {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
 {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"""


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ('{"pooling_mode_cls_token": true}', "cls"),
        ('{"pooling_mode_lasttoken": true}', "last"),
        ("{}", "mean"),
    ],
)
def test_pooling_of_an_embedding_model(folder, config, kind):
    (folder / "modules.json").write_text(MODULES)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(config)
    assert open_bundle(folder).pooling == Pooling(kind, normalize=True)


def test_pooling_of_a_gguf_file_and_of_a_language_model(make_gguf, folder):
    tensors = {"token_embd.weight": numbers(4, 32)}
    assert open_bundle(make_gguf(tensors, **{"llama.pooling_type": 3})).pooling == Pooling("last")
    assert open_bundle(make_gguf(tensors, **{"llama.pooling_type": "x"})).pooling is None
    assert open_bundle(folder).pooling is None


@pytest.mark.parametrize("path", ["../outside", "/etc", ".", "a/b"])
def test_a_pooling_module_outside_its_folder_is_not_read(folder, path):
    (folder / "modules.json").write_text(MODULES.replace("1_Pooling", path))
    assert open_bundle(folder).pooling is None
