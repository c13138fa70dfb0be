"""The report: self-contained, escaped, whole for every outcome, and readable in a browser."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from browser import Browser, NoBrowser
from checked_page import Checked
from proof_models import builtin, edited, with_config

from fairway.proof.rounded import rounded
from fairway.proof.run import ProofSettings, run
from fairway.report.verify_page import verify_page

QUICK = ProofSettings(quick=True, window_tokens=64)
NAME = "<img src=x onerror=alert(1)>\u202e"


def broken():
    bundle = edited(builtin(), "model.layers.2.mlp.down_proj.weight", lambda v: v[::-1] * np.float32(1e-3))
    return replace(bundle, name=NAME, chat_template="{{ '<script>' }}", end_of_text_ids=())


@pytest.fixture(scope="module")
def pages():
    targets = {
        "same": builtin(),
        "int4": rounded(builtin(), "int4"),
        "broken": broken(),
        "nan": edited(builtin(), "model.layers.0.mlp.up_proj.weight", lambda v: v * np.float32("nan")),
        "unknown": with_config(builtin(), model_type="mystery"),
    }
    proofs = {name: run(builtin(), target, QUICK) for name, target in targets.items()}
    proofs["broken"] = proofs["broken"].accept("<b>because</b>")
    return {name: verify_page(proof) for name, proof in proofs.items()}


@pytest.mark.parametrize("name", ["same", "int4", "broken", "nan", "unknown"])
def test_pages_are_whole_and_load_nothing(pages, name):
    found = Checked(pages[name])
    assert found.loads == [] and "script" not in found.tags and "img" not in found.tags
    assert "default-src 'none'" in unescape(pages[name])
    assert "nan" not in re.findall(r'(?:x|y|cx|cy|height|width|points|d)="([^"]*)"', pages[name])
    assert "inf" not in " ".join(re.findall(r'(?:y|cy|height|points)="([^"]*)"', pages[name]))


def test_text_of_strangers_stays_text(pages):
    assert "&lt;img src=x onerror=alert(1)&gt;\\u202e" in pages["broken"]
    assert "Accepted by" in pages["broken"] and "&lt;b&gt;because&lt;/b&gt;" in pages["broken"]


def test_what_is_shown_is_what_was_found(pages):
    assert "All 7 checks passed." in pages["same"] and "bit for bit the same" in pages["same"]
    assert pages["int4"].count("<svg") == 3 and "own relative error" in pages["int4"]
    assert "The steps of layer 2, where it departs" in pages["broken"]


def test_it_fits_small_and_large_windows_in_both_themes(pages, tmp_path):
    try:
        opened = Browser(tmp_path / "browser")
    except NoBrowser as why:
        pytest.skip(str(why))
    with opened as browser:
        for name in ("int4", "broken"):
            path = tmp_path / f"{name}.html"
            path.write_text(pages[name], "utf-8")
            for width, scheme in ((1200, "light"), (1200, "dark"), (390, "light")):
                browser.resize(width, 900)
                browser.prefer(scheme)
                browser.go(f"file://{path}")
                sizes = browser.run(
                    "const e = document.documentElement; return [e.scrollWidth, e.clientWidth]"
                )
                assert sizes[0] <= sizes[1], (name, width)
                assert NAME[:4] in browser.text("main") or name == "int4"
        assert browser.logged() == []
