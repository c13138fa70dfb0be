"""What is half made when a run stops is made again."""

import pytest
from benchmarks.comparison.environments import run, whole
from benchmarks.peers.protocol import Unavailable


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_name_appears_when_all_is_there(tmp_path, kind):
    path = tmp_path / "models" / "made"

    def make(partial):
        if kind == "file":
            partial.write_text("some")
        else:
            partial.mkdir()

    with pytest.raises(KeyboardInterrupt), whole(path) as partial:
        make(partial)
        raise KeyboardInterrupt
    assert not path.exists()
    with whole(path) as partial:
        assert not partial.exists(), "the rest of the stopped run is gone"
        make(partial)
    assert path.exists() and list(path.parent.iterdir()) == [path]


def test_a_command_that_fails_says_its_last_line(tmp_path):
    with pytest.raises(Unavailable, match="sh failed: too bad"):
        run(["sh", "-c", "echo fine; echo too bad; exit 3"], tmp_path / "logs" / "sh.log")
