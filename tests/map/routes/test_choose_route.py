"""Which route wins, what the others trade, what is refused, and how it reads."""

import json
from dataclasses import replace

import pytest
from route_facts import GB, LLAMA_8B, MACHINE, answer, bundle_of, devices, finder

from fairway.errors import DoesNotFit, UsageError
from fairway.map.gpus import Gpu
from fairway.map.history import Corrections
from fairway.map.routes.choose import find_routes
from fairway.map.routes.route import Route


def test_the_default_is_what_fairway_up_does():
    found = answer()
    assert (found.best.tool, found.best.weights) == ("Fairway", "int8")
    assert found.best.plan is not None and found.best.hops == ()
    assert found.best.commands[0].startswith("fairway up ")


@pytest.mark.parametrize(("goal", "weights"), [("latency", "int4"), ("throughput", "int8"), (None, "int8")])
def test_goals_on_this_processor(goal, weights):
    assert (answer(goal).best.tool, answer(goal).best.weights) == ("Fairway", weights)


def test_the_smallest_takes_least_memory_of_all():
    found = answer("smallest")
    needs = [
        each.need.total_bytes
        for each in finder("smallest").candidates(devices("this")[0])
        if isinstance(each, Route)
    ]
    assert found.best.need.total_bytes == pytest.approx(min(needs), rel=0.03)


def test_two_alternatives_say_what_they_trade():
    found = answer()
    assert len(found.alternatives) == 2
    assert len({(route.tool, route.weights) for route, _ in found.alternatives}) == 2
    assert any(route.tool != "Fairway" for route, _ in found.alternatives)
    assert all("as fast in writing" in trade for _, trade in found.alternatives)


def test_everybody_else_has_a_reason():
    found = answer()
    shown = {found.best.tool, *(route.tool for route, _ in found.alternatives)}
    assert found.not_chosen["MLX"] == "does not run on this machine (2 cores of a processor)"
    assert {"vLLM", "Transformers", "ONNX Runtime"} <= set(found.not_chosen) | shown
    assert not shown & set(found.not_chosen)


def test_a_hop_must_pay():
    """llama.cpp's Q8_0 on an H100 writes a little faster than vLLM's bfloat16, and needs a conversion."""
    found = answer("latency", "h100", LLAMA_8B)
    assert found.best.hops == ()


def test_what_was_measured_here_moves_the_choice():
    asked = finder("latency")
    slow = Corrections({("native", "int4", "decode_tokens_per_s"): (0.5,)})
    found = find_routes(replace(asked, corrections=slow), devices("this"))
    assert found.best.weights != "int4"


def test_a_quantised_file_stays_as_it_is():
    found = answer(bundle=bundle_of(stored="int4", container="gguf"))
    assert found.best.weights == "stored"
    llama = next(route for route, _ in found.alternatives if route.tool == "llama.cpp")
    assert llama.hops == () and llama.weights == "stored"


def test_a_gpu_of_this_machine_is_weighed_with_its_processor():
    gpu = Gpu("nvidia", "NVIDIA H100 80GB HBM3", 80 * GB)
    found = find_routes(finder(shape=LLAMA_8B), devices("this", gpus=(gpu,)))
    assert found.best.device.is_here and found.best.device.kind == "nvidia"


def test_weights_that_were_asked_for_are_taken():
    assert answer(weights="bf16").best.weights == "bf16"
    assert {route.bits for route, _ in answer("latency", "h100", weights="bf16").alternatives} == {16.0}


def test_costs_follow_from_price_and_speed():
    cost = answer("throughput", price=0.1).best.cost
    assert cost.per_month == pytest.approx(73) and cost.source == "--price"
    rate = answer("throughput", price=0.1).best.speed.output_tokens_per_s
    assert cost.per_million == pytest.approx(0.1 / 3600 / rate * 1e6)
    assert answer("throughput").best.cost is None


def test_several_devices_carry_what_one_cannot():
    large = LLAMA_8B | {"num_hidden_layers": 160, "num_attention_heads": 64, "hidden_size": 8192}
    found = answer("throughput", "h100", large, weights="bf16")
    assert found.best.num_devices > 1 and found.best.need.total_bytes < 80 * GB


@pytest.mark.parametrize("budget", ["1/month", "0.001/h", "0.00001/M"])
def test_a_budget_below_everything_is_one_sentence(budget):
    with pytest.raises(UsageError, match=r"Nothing that runs .* the cheapest is .* at \$") as caught:
        answer("throughput", "h100", budget=budget)
    dollars = caught.value.hint.split("--budget ")[1].split(",")[0]
    assert answer("throughput", "h100", budget=dollars).best


def test_a_budget_without_a_price_is_refused():
    with pytest.raises(UsageError, match="no price is known"):
        answer(budget="5")
    assert answer(budget="500", price=0.1).best


def test_the_cheapest_serves_everybody_at_a_bearable_speed():
    found = find_routes(finder("cheapest", LLAMA_8B), devices("h100", "t4", "a10"))
    assert found.best.speed.per_user >= 10
    prices = {route.device.id: route.cost.per_month for route, _ in found.alternatives}
    assert found.best.cost.per_month <= min(prices.values())


def test_a_machine_whose_speed_nobody_knows_still_gets_a_plan():
    found = find_routes(finder(), devices("this", known=None))
    assert found.best.tool == "Fairway" and found.best.speed is None
    assert "speed" not in dict(found.best.lines())


@pytest.mark.parametrize("on", ["this", "m1"])
def test_what_does_not_fit_says_three_ways_that_work(on):
    small = replace(MACHINE, memory_free_bytes=4 * GB)
    with pytest.raises(DoesNotFit, match=r"needs .* GB|needs .*of memory") as caught:
        answer("throughput", on, LLAMA_8B, machine=small, weights="bf16", context=131_072)
    ways = caught.value.hint.removeprefix("Ways to fit: ").rstrip(".").split("; ")
    assert len(ways) == 3


def test_it_reads_well_and_is_json():
    found = answer("throughput", "h100", LLAMA_8B)
    text = dict(found.best.lines())
    assert "tokens/s" in text["speed"] and "±" in text["memory"] and "$" in text["cost"]
    data = json.loads(json.dumps(found.to_dict()))
    assert data["best"]["speed"]["error"] > 0 and data["best"]["cost"]["per_month"] > 0
    assert data["best"]["memory"]["error"] and len(data["alternatives"]) == 2
