"""The reference pages are what the program says of itself today, and links between pages lead somewhere."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MARKDOWN = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])


def _maker():
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "settings.md", "http.md"])
def test_page_is_up_to_date(name):
    written = (ROOT / "docs" / "reference" / name).read_text("utf-8")
    assert written == _maker().PAGES[name](), "run: python docs/make_reference.py"


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_images_exist(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_file_the_pages_name_exists():
    concepts = (ROOT / "docs" / "concepts").glob("*.md")
    for page in concepts:
        for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", page.read_text("utf-8")):
            assert (ROOT / "src" / "fairway" / name).exists() or (ROOT / name).exists(), (
                f"{page.name}: {name}"
            )
