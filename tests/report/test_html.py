"""Strings are text, whatever they hold; only our own functions make markup."""

from fairway.report.html import Html, el, join


def test_text_and_attributes_are_escaped():
    assert el("p", "<b>&</b>", title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;&amp;&lt;/b&gt;</p>'
    )
    assert el("p", el("b", "x"), 3, None, ["a", Html("<i>")]) == "<p><b>x</b>3a<i></p>"


def test_control_characters_and_turned_text_are_spelled_out():
    assert join("a\x00b\x1b[31m\u202egnp\ud800") == "a\\u0000b\\u001b[31m\\u202egnp\\ud800"
    assert join("a\n\tb é 日本 🦙") == "a\n\tb é 日本 🦙"


def test_attributes_without_values_and_left_out():
    assert el("details", open=True, hidden=False, id=None, class_="x", aria_label="y") == (
        '<details open class="x" aria-label="y"></details>'
    )
    assert el("br") == "<br/>"
