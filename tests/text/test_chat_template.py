"""What surrounds the rendering: errors in sentences, defaults, what a template may see."""

import enum
import threading

import pytest
from text_cases import KINDS, SHARED, needs_shared

from fairway.errors import FormatError, RequestError
from fairway.text.chat_template import CHATML, TRANSCRIPT, ChatTemplate, default_template

HELLO = [{"role": "user", "content": "Hello"}]


def test_a_model_without_a_template_gets_a_transcript() -> None:
    assert default_template() == TRANSCRIPT
    template = ChatTemplate(default_template(KINDS["SentencePiece"]().token_id), bos_token="<s>")
    messages = [
        {"role": "system", "content": "Be kind. "},
        *HELLO,
        {"role": "assistant", "content": "Hi"},
        *HELLO,
    ]
    assert template.render(messages) == (
        "<s>System: Be kind.\n\nUser: Hello\n\nAssistant: Hi\n\nUser: Hello\n\nAssistant:"
    )
    assert template.render(HELLO, add_generation_prompt=False) == "<s>User: Hello\n\n"


def test_a_model_that_knows_chatml_gets_it() -> None:
    knows = {"<|im_start|>": 1, "<|im_end|>": 2}.get
    assert default_template(knows) == CHATML
    assert ChatTemplate(CHATML).render(HELLO) == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def test_a_refusal_is_the_templates_own_sentence() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(RequestError, match=r"refuses these messages: roles must alternate$") as caught:
        template.render(HELLO)
    assert (caught.value.status, caught.value.param) == (400, "messages")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ missing.name }}", "'missing' is undefined"),
        ("{{ messages[0].content + 1 }}", "can only concatenate str"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% include 'x' %}", "no loader"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% set ns = namespace(_x=1) %}", "_x"),
    ],
)
def test_a_failing_template_is_a_request_error(source: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        ChatTemplate(source).render(HELLO)


@pytest.mark.parametrize(
    "source",
    [
        "{% for %}",
        "{{",
        "{% if x %}",
        "{{ x | nosuchfilter }}",
        "{% break %}",
        "{{ " + "(" * 5000 + ")" * 5000,
    ],
)
def test_a_broken_template_is_a_format_error(source: str) -> None:
    with pytest.raises(FormatError, match="chat template is broken"):
        ChatTemplate(source)


def test_a_template_of_a_megabyte_is_refused() -> None:
    with pytest.raises(FormatError, match="1000000 characters"):
        ChatTemplate("x" * 1_000_000)


@pytest.mark.parametrize(
    "messages", ["text", None, 7, ["text"], [None], [["role", "user"]], {"role": "user"}]
)
def test_messages_must_be_a_list_of_objects(messages: object) -> None:
    with pytest.raises(RequestError, match="messages must be a list of objects"):
        ChatTemplate("x").render(messages)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["tools", "documents"])
def test_tools_and_documents_must_be_lists_of_objects(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name} must be a list of objects"):
        ChatTemplate("x").render(HELLO, **{name: "text"})  # type: ignore[arg-type]


def test_only_plain_values_reach_a_template() -> None:
    class Role(str, enum.Enum):
        USER = "user"

    class Model:
        def model_dump(self) -> dict:
            return {"role": Role.USER, "content": ("a", open, 1.5)}

    template = ChatTemplate("{{ messages[0].role }} {{ messages[0].content }} {{ extra }}")
    assert (
        template.render([Model()], extra=object())
        == "user ('a', '<builtin_function_or_method>', 1.5) <object>"
    )


def test_the_callers_messages_are_not_touched() -> None:
    messages = [{"role": "assistant", "content": "4", "reasoning": "hm"}]
    assert ChatTemplate("{{ messages[0].reasoning_content }}").render(messages) == "hm"
    assert messages == [{"role": "assistant", "content": "4", "reasoning": "hm"}]


def test_variables_and_special_tokens_reach_the_template() -> None:
    template = ChatTemplate(
        "{{ bos_token }}{{ pad_token }}{{ mood }}", bos_token="<s>", special_tokens={"pad_token": "<p>"}
    )
    assert template.render(HELLO, mood="calm") == "<s><p>calm"
    assert template.render(HELLO, bos_token="!") == "!<p>"


def test_whether_content_may_be_parts() -> None:
    assert not ChatTemplate(CHATML).takes_parts
    assert not ChatTemplate("{{ messages[0].content }}").takes_parts
    assert not ChatTemplate("{{ messages[0].content | tojson }}").takes_parts
    assert ChatTemplate("{% for part in messages[0].content %}{{ part.text }}{% endfor %}").takes_parts


@needs_shared
def test_real_templates_that_take_parts() -> None:
    sources = {path.stem: path.read_text("utf-8") for path in (SHARED / "chat-templates").glob("*.jinja")}
    taking = {name for name, source in sources.items() if ChatTemplate(source).takes_parts}
    assert taking == {"GLM-4.6", "Kimi-K2-Instruct", "Qwen3.5-4B", "google-gemma-4-31B-it"}


def test_many_threads_render_at_once() -> None:
    template = ChatTemplate(CHATML)
    texts: list[str] = []
    work = [threading.Thread(target=lambda: texts.append(template.render(HELLO * 200))) for _ in range(8)]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(set(texts)) == 1
    assert len(texts) == 8
