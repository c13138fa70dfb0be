"""The evaluation text is what its recipe makes."""

from recipes.evaluation_text.make import RESULT, text


def test_the_package_holds_what_the_recipe_makes():
    assert RESULT.read_text("utf-8") == text(), "run: python -m recipes.evaluation_text.make"
