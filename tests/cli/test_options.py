"""Flags come from the settings' own fields."""

import dataclasses

import click
import pytest

from fairway.cli.options import (
    ENGINE_FLAGS,
    SECTIONS,
    SERVER_FLAGS,
    engine_options,
    engine_settings,
    server_options,
    server_settings,
)
from fairway.errors import SettingsError
from fairway.map.settings import PlanSettings


@pytest.fixture(autouse=True)
def no_outside(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def parsed(decorate, *args):
    seen = {}
    command = click.command(decorate(lambda **flags: seen.update(flags)))
    command.main(list(args), standalone_mode=False)
    return seen


def test_a_flag_that_is_not_given_is_not_set():
    flags = parsed(engine_options)
    assert set(flags) == set(ENGINE_FLAGS) and set(flags.values()) == {None}
    assert engine_settings(flags) == PlanSettings()


def test_flags_reach_their_settings():
    flags = parsed(engine_options, "--weights", "int4", "--context", "4096", "--kv-share", "0.25")
    settings = engine_settings(flags | {"model": "ignored"})
    assert (settings.weights, settings.context, settings.kv_share) == ("int4", 4096, 0.25)
    flags = parsed(server_options, "--host", "::1", "--port", "9", "--api-key", "a", "--api-key", "b")
    server = server_settings(flags)
    assert (server.host, server.port, server.api_keys) == ("::1", 9, ("a", "b"))


def test_what_is_on_by_default_has_a_flag_that_switches_it_off(monkeypatch):
    assert engine_settings(parsed(engine_options)).enable_prefix_caching
    assert not engine_settings(parsed(engine_options, "--no-enable-prefix-caching")).enable_prefix_caching
    monkeypatch.setenv("FAIRWAY_ENGINE_ENABLE_PREFIX_CACHING", "0")
    assert not engine_settings(parsed(engine_options)).enable_prefix_caching
    assert engine_settings(parsed(engine_options, "--enable-prefix-caching")).enable_prefix_caching


def test_environment_and_file_are_read(monkeypatch, tmp_path):
    (tmp_path / "fairway").mkdir()
    (tmp_path / "fairway" / "config.toml").write_text("[engine]\ncontext = 100\nthreads = 3\n")
    monkeypatch.setenv("FAIRWAY_ENGINE_CONTEXT", "200")
    settings = engine_settings(parsed(engine_options))
    assert (settings.context, settings.threads) == (200, 3)


def test_an_impossible_value_names_the_flag():
    with pytest.raises(SettingsError, match="--context is 1; the smallest that works is 16"):
        engine_settings(parsed(engine_options, "--context", "1"))


def test_every_flag_has_help_and_belongs_to_a_field():
    flags_of = {"engine": ENGINE_FLAGS, "server": SERVER_FLAGS}
    for section, cls in SECTIONS.items():
        flags = flags_of.get(section, {})
        fields = {field.name: field for field in dataclasses.fields(cls)}
        assert all(fields[name].metadata.get("help") for name in flags)
        assert all(field.metadata.get("help") for field in fields.values())
