"""For all tests: what commands remember between runs goes to a folder of its own."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def own_state_folder(tmp_path_factory):
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))
