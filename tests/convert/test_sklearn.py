"""scikit-learn's models by way of skops: the predictions are its own, and nothing untrusted is built."""

import pickle
import zipfile

import numpy as np
import pytest
from model_folders import converted

from fairway.convert import graph_runtimes
from fairway.convert.graph_runtimes import run_onnx
from fairway.errors import FormatError, MissingExtra, UnsupportedError
from fairway.formats.identify import identify
from fairway.formats.open import ONNX_NAME, open_bundle


@pytest.fixture
def library():
    for name in ("sklearn", "skl2onnx", "onnxruntime"):
        pytest.importorskip(name)
    return pytest.importorskip("skops.io")


def data():
    random = np.random.RandomState(2)
    rows = random.normal(0, 2, (300, 6)).astype(np.float32)
    return rows, (rows[:, 0] * rows[:, 1] > rows[:, 2]).astype(int) + (rows[:, 3] > 1)


def models():
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return {
        "forest": make_pipeline(StandardScaler(), RandomForestClassifier(7, random_state=0)),
        "logistic": LogisticRegression(max_iter=500),
        "boosting": GradientBoostingRegressor(n_estimators=20, random_state=0),
        "vectors": SVC(),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["forest", "logistic", "boosting", "vectors"])
def test_predictions_are_those_of_scikit_learn(library, tmp_path, name):
    rows, classes = data()
    model = models()[name].fit(rows, classes)
    library.dump(model, tmp_path / "model.skops")
    report = converted(tmp_path / "model.skops", "onnx", tmp_path / "onnx")
    assert report.verdict["ONNX Runtime"].status == "passed"
    fresh = np.random.RandomState(9).normal(0, 2, (200, 6)).astype(np.float32)
    found = next(iter(run_onnx(tmp_path / "onnx" / ONNX_NAME)({"X": fresh}).values()))
    wanted = model.predict(fresh)
    if name == "boosting":
        np.testing.assert_allclose(found.ravel(), wanted, atol=1e-4)
    else:
        np.testing.assert_array_equal(found, wanted)
    tools = open_bundle(tmp_path / "onnx", complete=False).lineage.steps[0].tools
    assert {"skops", "skl2onnx", "scikit-learn"} <= set(tools)


class Unknown:
    """What no library of models knows."""


@pytest.mark.filterwarnings("ignore")
def test_types_that_skops_does_not_trust_are_named(library, tmp_path):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression().fit(*data())
    model.extra = Unknown()
    library.dump(model, tmp_path / "model.skops")
    with pytest.raises(UnsupportedError, match=r"Unknown, which skops does not trust"):
        converted(tmp_path / "model.skops", "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore")
def test_a_tree_that_leads_out_of_itself_is_refused(library, tmp_path):
    """It would be followed into other memory. The nodes lie in one of the archive's arrays."""
    from sklearn.tree import DecisionTreeClassifier

    library.dump(DecisionTreeClassifier(random_state=0).fit(*data()), tmp_path / "good.skops")
    with (
        zipfile.ZipFile(tmp_path / "good.skops") as good,
        zipfile.ZipFile(tmp_path / "bad.skops", "w") as bad,
    ):
        for entry in good.infolist():
            raw = good.read(entry)
            if b"left_child" in raw and entry.filename.endswith(".npy"):
                body = raw.index(b"\n") + 1
                nodes = np.frombuffer(raw[body:], "<i8").copy()
                nodes[0] = 1 << 40
                raw = raw[:body] + nodes.tobytes()
            bad.writestr(entry, raw)
    with pytest.raises(FormatError, match="branches lead out of it"):
        converted(tmp_path / "bad.skops", "onnx", tmp_path / "out")


def test_a_broken_archive_is_one_sentence(library, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", '{"__class__": "x"}')
    with pytest.raises((FormatError, UnsupportedError)):
        converted(tmp_path / "model.skops", "onnx", tmp_path / "out")


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", "{}")
    assert identify(tmp_path / "model.skops").format == "skops"
    monkeypatch.setattr(graph_runtimes, "is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match="needs skops") as caught:
        converted(tmp_path / "model.skops", "onnx", tmp_path / "out")
    assert "fairway[sklearn]" in caught.value.hint


class FakeEstimator:
    """Pickled under a name of scikit-learn, it would touch a file."""

    def __reduce__(self):
        return (open, ("touched", "w"))


def test_pickles_are_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = pickle.dumps([FakeEstimator()], 4)
    (tmp_path / "model.pkl").write_bytes(raw.replace(b"\x8c\x02io", b"\x8c\x0asklearn.io"))
    with pytest.raises(UnsupportedError, match="would import sklearn") as caught:
        converted(tmp_path / "model.pkl", "onnx", tmp_path / "out")
    assert "skops.io.dump" in caught.value.hint
    assert not (tmp_path / "touched").exists()
