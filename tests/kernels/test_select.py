"""Which backend runs: by argument, by FAIRWAY_ISA, by what the machine has."""

import pytest

from fairway.errors import SettingsError, UnsupportedError
from fairway.kernels import native_backend, select
from fairway.kernels.extension import native_isas
from fairway.kernels.select import choose_isa, select_backend, why_reference


def test_auto_takes_the_best(monkeypatch) -> None:
    monkeypatch.delenv("FAIRWAY_ISA", raising=False)
    isas = native_isas()
    expected = f"native-{isas[0]}" if isas else "reference"
    assert select_backend().name == expected
    assert (why_reference() is None) == bool(isas)


@pytest.mark.parametrize("name", [*native_isas(), "reference"])
def test_the_variable_forces_one(monkeypatch, name) -> None:
    monkeypatch.setenv("FAIRWAY_ISA", name)
    assert select_backend().name.removeprefix("native-") == name
    assert select_backend("reference").name == "reference"


def test_unknown_names_and_counts_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("FAIRWAY_ISA", "sse9")
    with pytest.raises(SettingsError, match="sse9"):
        select_backend()
    with pytest.raises(SettingsError, match="threads"):
        select_backend("reference", threads=0)


@pytest.mark.parametrize("missing", [None, "No module named fairway.kernels._native"])
def test_without_a_variant_the_reference_runs_and_says_why(monkeypatch, missing) -> None:
    monkeypatch.delenv("FAIRWAY_ISA", raising=False)
    for module in (select, native_backend):
        monkeypatch.setattr(module, "MISSING", missing)
    for module in (select, native_backend):
        monkeypatch.setattr(module, "native_isas", lambda: ())
    assert select_backend().name == "reference"
    assert "slow NumPy reference" in (why_reference() or "")
    with pytest.raises(UnsupportedError, match="avx2"):
        select_backend("avx2")


@pytest.mark.skipif(not native_isas(), reason="no native variant on this machine")
def test_threads_are_settable() -> None:
    backend = native_backend.NativeBackend(threads=3)
    assert backend.threads == 3


def test_a_choice_is_made_before_anything_is_planned(monkeypatch):
    monkeypatch.setenv("FAIRWAY_ISA", "reference")
    assert choose_isa() == "reference"
    monkeypatch.delenv("FAIRWAY_ISA")
    assert choose_isa() == (*native_isas(), "reference")[0]
    assert choose_isa("reference") == "reference"
