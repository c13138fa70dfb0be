"""Which characters are learned, checked by hand; where a template rewrites history, or hides something."""

import pytest
from tune_cases import EOS, FORGETTING, MARKED, SHARED, assistant, unmarked, user

from fairway.errors import RequestError
from fairway.formats.bundle import Preset
from fairway.text.chat_template import TRANSCRIPT, ChatTemplate
from fairway.tune.messages import messages_of, tools_of
from fairway.tune.render import END_ADDED, UNPROMPTED, Renderer
from fairway.tune.rows import RowError

TURNS = [user("Hi"), assistant("Yo."), user("Bye"), assistant("So long.")]
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Rain?", "parameters": {"type": "object"}},
}
CALL = {"id": "call12345", "type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
RESULT = {"role": "tool", "tool_call_id": "call12345", "content": "wet"}
CALLED = [user("Rain?"), assistant("", tool_calls=[CALL]), RESULT, assistant("Yes.")]


def shown(template, messages, learned=None, tools=None, **options):
    """The texts, with brackets around what is learned."""
    endings = (
        "<|im_end|>",
        "<|eot_id|>",
        EOS,
        "<end_of_turn>",
        "<|end|>",
        "<|endoftext|>",
        "<｜end▁of▁sentence｜>",
    )
    compiled = ChatTemplate(template, bos_token="<s>", eos_token=options.pop("eos_token", EOS))
    made = Renderer(compiled, endings, EOS, options.pop("preset", None))
    rows = messages_of(messages, "messages")
    learned = [at for at, each in enumerate(rows) if each.role == "assistant"] if learned is None else learned
    found = made.answers(rows, tools_of(tools), learned)
    return [bracketed(each) for each in found], found


def bracketed(rendered):
    text, at, parts = rendered.text, 0, []
    for start, end in rendered.spans:
        parts += [text[at:start], "⟦", text[start:end], "⟧"]
        at = end
    return "".join([*parts, text[at:]])


BY_HAND = {
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Yo.<|im_end|>⟧\n"
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n⟦So long.<|im_end|>⟧\n",
    "llama 3": "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Yo.<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n⟦So long.<|eot_id|>⟧",
    "mistral": "<s>[INST] Hi [/INST]⟦ Yo.</s>⟧[INST] Bye [/INST]⟦ So long.</s>⟧",
    "gemma": "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n⟦Yo.<end_of_turn>⟧\n"
    "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n⟦So long.<end_of_turn>⟧\n",
    "phi": "<|user|>\nHi<|end|>\n<|assistant|>\n⟦Yo.<|end|>⟧\n"
    "<|user|>\nBye<|end|>\n<|assistant|>\n⟦So long.<|end|>⟧\n</s>",
}


@pytest.mark.parametrize("family", BY_HAND)
def test_spans_by_hand(family):
    assert shown(unmarked(MARKED[family]), TURNS)[0] == [BY_HAND[family]]
    assert shown(MARKED[family], TURNS)[0] == [BY_HAND[family]]


REAL = {
    "google-gemma-2-2b-it.jinja": BY_HAND["gemma"],
    "microsoft-Phi-3.5-mini-instruct.jinja": BY_HAND["phi"],
    "mistralai-Mistral-Nemo-Instruct-2407.jinja": "<s>[INST]Hi[/INST]⟦Yo.</s>⟧[INST]Bye[/INST]⟦So long.</s>⟧",
}


def real(name):
    path = SHARED / "chat-templates" / name
    if not path.exists():
        pytest.skip("../shared is absent")
    return path.read_text("utf-8")


@pytest.mark.parametrize("name", REAL)
def test_spans_of_real_templates_by_hand(name):
    assert shown(real(name), TURNS)[0] == [REAL[name]]


def test_only_what_is_asked_for_is_learned():
    [text], _ = shown(unmarked(MARKED["mistral"]), TURNS, learned=[3])
    assert text == "<s>[INST] Hi [/INST] Yo.</s>[INST] Bye [/INST]⟦ So long.</s>⟧"
    assert shown(MARKED["mistral"], TURNS, learned=[3])[0] == [text]


def test_everything_is_learned():
    compiled = ChatTemplate(unmarked(MARKED["mistral"]), bos_token="<s>", eos_token=EOS)
    whole = Renderer(compiled, [EOS], EOS).whole(messages_of(TURNS[:2], "messages"), None)
    assert bracketed(whole) == "⟦<s>[INST] Hi [/INST] Yo.</s>⟧"


def test_thinking_that_is_forgotten_later_becomes_an_example_of_its_own():
    turns = [user("1+1"), assistant("<think>easy</think>2"), user("2+2"), assistant("<think>hm</think>4")]
    texts, found = shown(FORGETTING, turns)
    first = "<|im_start|>user\n1+1<|im_end|>\n<|im_start|>assistant\n"
    assert texts == [
        first + "2<|im_end|>\n<|im_start|>user\n2+2<|im_end|>\n<|im_start|>assistant\n"
        "⟦<think>hm</think>4<|im_end|>⟧\n",
        first + "⟦<think>easy</think>2<|im_end|>⟧",
    ]
    assert [each.turn for each in found] == [None, 1]


def test_qwen3_learns_every_answer_after_the_prompt_that_it_will_be_served():
    texts, _ = shown(real("Qwen-Qwen3-0.6B.jinja"), TURNS)
    assert [text[text.index("⟦") :] for text in texts] == [
        "⟦<think>\n\n</think>\n\nSo long.<|im_end|>⟧\n",
        "⟦<think>\n\n</think>\n\nYo.<|im_end|>⟧",
    ]


def test_a_system_message_that_only_the_prompt_shows_is_kept():
    """Mistral's template puts it into the last question, and into none once that is answered."""
    turns = [{"role": "system", "content": "Be brief."}, *TURNS[:2]]
    texts, _ = shown(real("mistralai-Mistral-Nemo-Instruct-2407.jinja"), turns)
    assert texts == ["<s>[INST]Be brief.\n\nHi[/INST]⟦Yo.</s>⟧"]


def test_tools_that_move_to_the_last_question_stay_where_the_server_puts_them():
    turns = [*CALLED, user("And tomorrow?"), assistant("No.")]
    texts, _ = shown(real("mistralai-Mistral-Nemo-Instruct-2407.jinja"), turns, tools=[TOOL])
    assert len(texts) == 3
    assert all(text.count("[AVAILABLE_TOOLS]") == 1 for text in texts)
    assert texts[1].index("[AVAILABLE_TOOLS]") < texts[1].index("Rain?")
    assert texts[1].endswith(
        '⟦[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Oslo"}, "id": "call12345"}]</s>⟧'
    )


def test_a_generation_prompt_that_begins_to_think_is_told():
    template = unmarked(MARKED["chatml"]).replace(
        "assistant\\n' }}{% endif %}", "assistant\\n<think>\\n' }}{% endif %}"
    )
    texts, [found] = shown(template, TURNS[:2])
    assert texts == ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Yo.<|im_end|>⟧\n"]
    assert found.notes == {UNPROMPTED}


def test_a_template_that_ends_no_turn_gets_an_end():
    texts, found = shown(TRANSCRIPT, TURNS)
    assert texts == [
        "<s>User: Hi\n\nAssistant:⟦ Yo.</s>⟧",
        "<s>User: Hi\n\nAssistant: Yo.\n\nUser: Bye\n\nAssistant:⟦ So long.</s>⟧",
    ]
    assert all(each.notes == {END_ADDED} for each in found)


def test_an_end_that_the_tags_leave_out_is_learned_all_the_same():
    template = MARKED["mistral"].replace(
        "+ eos_token }}{% endgeneration %}", "}}{% endgeneration %}{{ eos_token }}"
    )
    assert shown(template, TURNS[:2])[0] == ["<s>[INST] Hi [/INST]⟦ Yo.</s>⟧"]


def test_tags_that_do_not_fit_the_turns_are_refused_where_one_is_left_out():
    template = "{% generation %}{% for m in messages %}{{ m['content'] }}{% endfor %}{% endgeneration %}"
    with pytest.raises(RowError, match="marks 1 places and the conversation has 2 answers"):
        shown(template, TURNS, learned=[3])


def test_a_template_that_rewrites_everything_is_refused():
    template = "{% for m in messages | reverse %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(RowError, match="rewrites what comes before message 2"):
        shown(template, TURNS[:2])


@pytest.mark.parametrize(
    ("messages", "tools", "missing"),
    [
        ([*TURNS[:2]], [TOOL], "the tool 'weather'"),
        (
            [user("Rain?"), assistant("Let me see.", tool_calls=[CALL]), RESULT, assistant("Yes.")],
            None,
            "the call of",
        ),
        (CALLED, None, "the call of 'weather' in message 2"),
        ([{"role": "system", "content": "Be brief"}, *TURNS[:2]], None, "message 1, the system's"),
    ],
)
def test_what_a_template_hides_is_named(messages, tools, missing):
    template = (
        "{% for m in messages %}{% if m['role'] != 'system' %}"
        "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    with pytest.raises(RowError, match=missing):
        shown(template, messages, tools=tools)


def test_a_marked_answer_that_is_nothing_is_named():
    with pytest.raises(RowError, match="the call of 'weather' in message 2"):
        shown(MARKED["llama 3"], CALLED)


def test_a_refusal_is_the_templates_own():
    with pytest.raises(RequestError, match="Roles must alternate"):
        shown(MARKED["gemma"], [user("a"), user("b"), assistant("c")])


def test_the_preset_of_a_modelfile_is_learned_with():
    texts, found = shown(unmarked(MARKED["chatml"]), TURNS[:2], preset=Preset(system="Be kind."))
    assert texts[0].startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi")
    assert found[0].spans[0][0] == texts[0].index("⟦")


def test_every_real_template_ends_what_it_learns():
    """An answer is learned with its text and its end, and nothing that the user said."""
    folder = SHARED / "chat-templates"
    if not folder.is_dir():
        pytest.skip("../shared is absent")
    refused = []
    for path in sorted(folder.glob("*.jinja")):
        tools = [TOOL] if "Hermes" in path.name else None
        try:
            texts, _ = shown(path.read_text("utf-8"), TURNS, tools=tools, eos_token="<|endoftext|>")
        except RowError as error:
            assert "cannot be known" in error.message
            refused.append(path.name)
            continue
        learned = "".join(part.split("⟧")[0] for text in texts for part in text.split("⟦")[1:])
        assert all(said in learned for said in ("Yo.", "So long.")), path.name
        assert not any(said in learned for said in ("Hi", "Bye")), path.name
    # Its prompt holds an empty thought that its history lacks.
    assert refused == ["CohereForAI-c4ai-command-r7b-12-2024-tool_use.jinja"]
