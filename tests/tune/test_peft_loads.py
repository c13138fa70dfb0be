"""What `fairway tune` writes is loaded by PEFT, whose logits are then the trainer's own."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
pytest.importorskip("transformers")

from peft_cases import CASES, DORA_CASES, LORA, NUM_VIRTUAL, PREFIX_CASES, ROWS, lora_weight, tiny  # noqa: E402

from fairway.formats.lora_peft import write_peft  # noqa: E402
from fairway.tune.encode import Example  # noqa: E402
from fairway.tune.forward_names import recorded  # noqa: E402
from fairway.tune.lora_layers import lora_for, row_lengths  # noqa: E402
from fairway.tune.packing import join  # noqa: E402
from fairway.tune.prefix_tokens import prefix_for  # noqa: E402
from fairway.tune.torch_decoder import TorchDecoder, tokens_of  # noqa: E402
from fairway.tune.torch_weights import load_weights  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore::FutureWarning:peft")
CPU = torch.device("cpu")
IDS = ROWS[0][0]


def transformers_model(name: str):
    from reference_models import build, fill

    model = build(tiny(name).config)
    fill(model, tiny(name).weights)
    return model.eval()


def trained_and_written(name: str, method: str, folder: Path):
    """A decoder with something learned beside it, and that in PEFT's folder."""
    loaded = load_weights(tiny(name).bundle, torch.float32, CPU)
    program = recorded(loaded.config)
    lora = prefix = None
    if method == "prefix":
        prefix = prefix_for(program, NUM_VIRTUAL)
    else:
        lora = lora_for(program, LORA, row_lengths(program, loaded.weights) if method == "dora" else None)
    beside = lora or prefix
    for each, values in beside.tensors.items():
        values.copy_(torch.from_numpy(lora_weight(each, tuple(values.shape))))
    if prefix is not None:
        prefix.write(folder, "org/base", prefix.tensors)
    else:
        write_peft(lora.adapter("it", "org/base", lora.tensors), folder)
    return TorchDecoder(loaded.config, loaded.weights, lora, prefix)


def ours(decoder) -> np.ndarray:
    example = Example("", np.array(IDS, np.int32), np.ones(len(IDS), bool))
    with torch.no_grad():
        return decoder.logits(decoder.hidden(tokens_of(join([example]), CPU))).numpy()


def theirs(model) -> np.ndarray:
    with torch.no_grad():
        return model(input_ids=torch.tensor([IDS])).logits[0].numpy()


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "lora") for name in CASES),
        *((name, "dora") for name in DORA_CASES),
        *((name, "prefix") for name in PREFIX_CASES),
    ],
)
def test_peft_answers_as_the_trainer_does(name: str, method: str, tmp_path: Path) -> None:
    decoder = trained_and_written(name, method, tmp_path)
    model = transformers_model(name)
    plain = theirs(model)
    adapted = theirs(peft.PeftModel.from_pretrained(model, tmp_path).eval())
    assert np.abs(adapted - plain).max() > 0.05
    np.testing.assert_allclose(ours(decoder), adapted, rtol=1e-4, atol=5e-5)
