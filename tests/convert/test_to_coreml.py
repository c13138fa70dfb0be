"""Core ML packages: built by coremltools and read back from their files. No Apple hardware is at hand, so the
program is evaluated by `mil_numpy`, which knows what MIL's operators mean and nothing of our decoders."""

import numpy as np
import pytest
from model_cases import CASES, CONTEXTS
from model_folders import converted
from tiny_models import golden

from fairway.convert import graph_runtimes
from fairway.errors import MissingExtra, SettingsError
from fairway.formats.open import open_bundle
from fairway.models.families import read_config
from fairway.models.names import family_name

CONTEXT = 64


@pytest.fixture
def ct():
    return pytest.importorskip("coremltools")


def package(tmp_path, name, *, half):
    """A golden's model as a package that can be stepped."""
    from mil_numpy import Package

    from fairway.convert.coreml_program import coreml_model

    answer = golden(name)
    config = read_config(answer.config)
    weights = {family_name(key): values for key, values in answer.weights.items()}
    context = min(CONTEXTS.get(name) or CONTEXT, config.max_context)
    model = coreml_model(config, weights.__getitem__, context, half=half)
    path = tmp_path / "x.mlpackage"
    model.save(str(path))
    shape = (config.num_layers, 1, config.num_kv_heads, context, config.head_size)
    return Package(path, shape), answer


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_every_family_evaluated_from_the_saved_file(name, tmp_path, ct):
    """float32 but for keys and values, which states keep in float16; in parts, as an app feeds it."""
    model, answer = package(tmp_path, name, half=False)
    tokens, wanted = answer.tokens, answer.logits
    found = np.concatenate([model.step(tokens[:19]), model.step(tokens[19:20]), model.step(tokens[20:])])
    assert np.abs(found - wanted).max() < 5e-3 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("name", ["llama-grouped-heads", "gemma2-soft-caps", "gpt2-tied"])
@pytest.mark.filterwarnings("ignore")
def test_in_float16_the_logits_stay_close(name, tmp_path, ct):
    model, answer = package(tmp_path, name, half=True)
    found = model.step(answer.tokens)
    assert np.abs(found - answer.logits).max() < 3e-2 * max(1.0, np.abs(answer.logits).max())
    exact = [op for op in model.operations if op.type in ("cos", "sin", "reduce_mean")]
    assert all(op.outputs[0].type.tensorType.dataType == 11 for op in exact)


@pytest.mark.parametrize("kind", ["stored", "F32"])
@pytest.mark.filterwarnings("ignore")
def test_the_folder_holds_the_package_and_says_that_it_was_not_run(kind, model, tmp_path, ct):
    report = converted(model, "coreml", tmp_path / "coreml", type=kind)
    check = report.verdict["Core ML"]
    assert check.status == "passed" and check.figure.endswith("not run, which takes Apple hardware")
    names = {path.name for path in (tmp_path / "coreml").iterdir()}
    assert {"model.mlpackage", "tokenizer.json", "config.json", "fairway.json"} <= names
    assert not any(name.startswith("model.onnx") for name in names)
    spec = ct.utils.load_spec(str(tmp_path / "coreml" / "model.mlpackage"))
    assert spec.specificationVersion == 9  # iOS 18, macOS 15: the first with states
    assert [port.name for port in spec.description.input] == ["inputIds", "causalMask"]
    assert [port.name for port in spec.description.output] == ["logits"]
    assert [port.name for port in spec.description.state] == ["keyCache", "valueCache"]
    shape = list(spec.description.state[0].type.stateType.arrayType.shape)
    assert shape == [2, 1, 2, 128, 16]
    assert "not run" in spec.description.metadata.shortDescription


@pytest.mark.filterwarnings("ignore")
def test_the_weights_in_the_package_are_those_of_the_source(model, tmp_path, ct):
    from fairway.convert.coreml_package import weights

    converted(model, "coreml", tmp_path / "coreml", type="F32")
    found = dict(weights(tmp_path / "coreml" / "model.mlpackage"))
    tensors = open_bundle(model).tensors
    for name in ("model.embed_tokens.weight", "lm_head.weight", "model.layers.1.mlp.down_proj.weight"):
        assert np.array_equal(found[name.replace(".", "_")], tensors.read(name).values)


def test_without_coremltools_nothing_is_written(model, tmp_path, monkeypatch):
    monkeypatch.setattr(graph_runtimes, "is_installed", lambda name: False)
    with pytest.raises(MissingExtra, match="needs coremltools") as error:
        converted(model, "coreml", tmp_path / "coreml")
    assert error.value.hint == "pip install 'fairway[coreml]'"
    assert not (tmp_path / "coreml").exists()


def test_other_types_are_refused(model, tmp_path):
    with pytest.raises(SettingsError, match="written in F16 and F32, not INT4"):
        converted(model, "coreml", tmp_path / "coreml", type="INT4")
