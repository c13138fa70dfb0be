"""What is learned is what transformers says the assistant wrote, whether the template marks it or not."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend
from tune_cases import (
    CONTROL,
    CONVERSATIONS,
    EOS,
    MARKED,
    REAL,
    SHARED,
    assistant,
    encoder,
    runs,
    tokenizer,
    unmarked,
    user,
)

from fairway.text.fast_tokenizer import FastTokenizer
from fairway.text.pieces import spelling_of_decoder
from fairway.text.tokenizer import SpecialTokens
from fairway.tune.encode import mask
from fairway.tune.messages import messages_of
from fairway.tune.rows import ChatRow

GOLDENS = json.loads((Path(__file__).parent / "goldens" / "answer_masks.json").read_text("utf-8"))
PHI3 = SHARED / "tokenizers" / "phi-3" / "tokenizer.json"
BUILTIN = Path(__file__).parents[2] / "src" / "fairway" / "builtin" / "tokenizer.json"
BYTES = tokenizer()
CASES = [(name, title) for name in MARKED for title in CONVERSATIONS]


def from_file(path):
    backend = Backend.from_file(str(path))
    missing = [each for each in CONTROL if backend.token_to_id(each) is None]
    backend.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in missing])
    special = SpecialTokens(frozenset(backend.get_added_tokens_decoder()), eos=backend.token_to_id(EOS))
    return FastTokenizer(backend, spelling_of_decoder(json.loads(backend.decoder.__getstate__())), special)


TOKENIZERS = {"bytes": tokenizer, "builtin": lambda: from_file(BUILTIN), "phi-3": lambda: from_file(PHI3)}


@pytest.fixture(scope="module", params=TOKENIZERS)
def recorded(request):
    if request.param == "phi-3" and not PHI3.exists():
        pytest.skip("../shared is absent")
    return GOLDENS[request.param], TOKENIZERS[request.param]()


def examples(template, title, tokens):
    row = ChatRow(messages_of(CONVERSATIONS[title], "messages"))
    [found] = encoder(template, tokens=tokens).encode([row])
    assert isinstance(found, list), found
    return found


@pytest.mark.parametrize("way", ["marked", "unmarked"])
@pytest.mark.parametrize(("name", "title"), CASES)
def test_mask_is_that_of_transformers(recorded, name, title, way):
    golden = recorded[0][name][title]
    template = MARKED[name] if way == "marked" else unmarked(MARKED[name])
    [example] = examples(template, title, recorded[1])
    ids = example.ids.tolist()
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:16]
    assert (len(ids), digest) == (golden["count"], golden["ids"])
    assert runs(example.learned.tolist()) == golden["learned"]


@pytest.mark.skipif(not PHI3.exists(), reason="../shared is absent")
@pytest.mark.parametrize(("name", "title"), [(name, title) for name in REAL for title in CONVERSATIONS])
def test_real_templates_are_as_transformers_has_them_with_marks(name, title):
    """transformers needs marks, which were put into the template; here it is as it was published."""
    golden = GOLDENS["phi-3"][name][title]
    source = (SHARED / "chat-templates" / name).read_text("utf-8")
    [example] = examples(source, title, from_file(PHI3))
    digest = hashlib.sha256(json.dumps(example.ids.tolist()).encode()).hexdigest()[:16]
    assert (len(example), digest) == (golden["count"], golden["ids"])
    assert runs(example.learned.tolist()) == golden["learned"]


def test_all_are_recorded():
    assert {name for name in GOLDENS if name != "transformers"} == set(TOKENIZERS)
    assert set(GOLDENS["bytes"]) == set(GOLDENS["builtin"]) == set(MARKED)
    assert set(GOLDENS["phi-3"]) == {*MARKED, *REAL}


def test_a_token_is_learned_if_any_of_its_characters_is():
    learned, straddles = mask([3, 6, 9], [(4, 9)])
    assert learned.tolist() == [False, True, True]
    assert straddles


def test_bytes_of_one_character_share_its_fate():
    learned, straddles = mask([1, 2, 2, 2, 3], [(1, 2)])
    assert learned.tolist() == [False, True, True, True, False]
    assert not straddles


def test_an_empty_text_has_no_mask():
    learned, straddles = mask([], [])
    assert (learned.tolist(), straddles) == ([], False)


SAID = st.text(st.sampled_from(list("ab .,\n\t<|>[]é🦙s")), min_size=1, max_size=12).filter(str.strip)
TURNS = st.lists(st.tuples(SAID, SAID), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(MARKED)), st.lists(st.tuples(SAID, SAID), min_size=1, max_size=4), st.booleans()
)
def test_marks_and_comparison_agree_on_any_text(name, turns, is_open):
    messages = [turn for asked, said in turns for turn in (user(asked), assistant(said))]
    row = ChatRow(messages_of([*messages, user("?")] if is_open else messages, "messages"))
    [[one]], [[other]] = (
        encoder(template, tokens=BYTES).encode([row]) for template in (MARKED[name], unmarked(MARKED[name]))
    )
    assert one.ids.tolist() == other.ids.tolist()
    assert one.learned.tolist() == other.learned.tolist()
