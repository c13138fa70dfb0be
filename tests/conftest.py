"""No test meets what the person who runs it has trained."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_state_of_others(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
        yield
