"""The text is long and varied enough, and whole."""

from fairway.proof import evaluation_text


def test_size_sections_and_scripts():
    text = evaluation_text.mixed()
    assert 50_000 < len(text.encode("utf-8")) < 100_000
    assert len(evaluation_text.sections()) > 35
    assert "%%" not in text and "\ufffd" not in text
    samples = ("def ", "SELECT", '{"role"', "the", "die ", "の", "的", "ل", "в ", "한", "≥")
    for sample in samples:
        assert sample in text, sample
