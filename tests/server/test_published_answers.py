"""Real models over HTTP: what their authors published and what transformers computed, word for word."""

import json
import re
from pathlib import Path

import openai
import pytest
from serving import serving

from fairway.formats.open import open_bundle
from fairway.map.planner import plan
from fairway.map.probe import probe
from fairway.map.settings import PlanSettings
from fairway.runtimes.loading import load_runtime

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"
pytestmark = pytest.mark.skipif(
    not MODELS.is_dir(), reason="the real models lie beside the project, not in it"
)


@pytest.fixture(scope="module", params=["stories260k", "stories260k/stories260k-f32.gguf"])
def client(request):
    bundle = open_bundle(MODELS / request.param)
    planned = plan(bundle, probe(), PlanSettings(weights="stored", isa="reference"))
    runtime = load_runtime(bundle, planned.native_options("stories"))
    with (
        serving(runtime) as server,
        openai.OpenAI(base_url=server.url + "/v1", api_key="none", timeout=300) as made,
    ):
        yield made


@pytest.mark.timeout(300)
def test_the_answer_is_what_transformers_computed(client):
    golden = json.loads((MODELS / "stories260k" / "golden.json").read_text("utf-8"))
    wanted = len(golden["greedy_ids"]) - len(golden["prompt_ids"])
    answer = client.completions.create(
        model="stories", prompt=golden["prompt"], max_tokens=wanted, temperature=0, logprobs=0
    )
    assert answer.usage.prompt_tokens == len(golden["prompt_ids"])
    ids = client.post(
        "/../tokenize", body={"prompt": golden["prompt"] + answer.choices[0].text}, cast_to=object
    )
    assert ids["tokens"][: len(golden["greedy_ids"])] == golden["greedy_ids"]


@pytest.mark.timeout(300)
def test_the_answer_is_what_the_author_published(client):
    text = (MODELS / "stories260k" / "published.md").read_text("utf-8")
    published = re.search(r"-t 0\.0\n(.*?)```", text, re.S).group(1)
    streamed = ""
    for chunk in client.completions.create(
        model="stories", prompt="Once upon a time", max_tokens=500, temperature=0, stream=True
    ):
        streamed += chunk.choices[0].text
    whole = "Once upon a time" + streamed
    assert whole.startswith(published.strip())
