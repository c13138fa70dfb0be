"""Devices by name or by what a machine's tools say, and the lanes between formats."""

from dataclasses import replace

import pytest
from route_facts import CATALOGUE, GB, LIMITS, MACHINE, bundle_of, devices

from fairway.convert.hops import HOPS
from fairway.errors import UnsupportedError, UsageError
from fairway.map.gpus import Gpu
from fairway.map.routes.devices import match_gpu, rentable
from fairway.map.routes.lanes import format_of, way


@pytest.mark.parametrize("name", ["THIS", "this", "This machine"])
def test_this_machine(name):
    (device,) = devices(name)
    assert device.is_here and device.machine == MACHINE and device.silicon == LIMITS.silicon()
    assert device.usd_per_hour is None and devices(name, price=0.5)[0].usd_per_hour == 0.5


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA GeForce GT 210", None),
    ],
)
def test_gpus_are_found_in_the_catalogue(name, row):
    memory = {"a100": 40, "a100-80": 80}.get(row or "", 0) * GB or None
    found = match_gpu(CATALOGUE, Gpu("nvidia", name, memory))
    assert (found.id if found else None) == row


def test_a_gpu_of_this_machine_counts_with_what_is_free():
    gpu = Gpu("nvidia", "NVIDIA GeForce RTX 4090", 24 * GB, 9 * GB)
    _, card = devices("this", gpus=(gpu, Gpu("nvidia", "a card nobody knows")))
    assert card.is_here and card.memory_bytes == 9 * GB and not card.is_measured


def test_a_rented_device_says_where_its_price_is_from():
    (h100,) = devices("H100")
    assert h100.memory_bytes == 80 * GB and h100.usd_per_hour > 0 and h100.price_source
    assert h100.is_datacentre and not devices("RTX 4090")[0].is_datacentre
    assert all(device.usd_per_hour for device in rentable(CATALOGUE))


def test_what_a_maker_does_not_state_is_said_to_be_derived():
    (m3,) = devices("M3")
    assert m3.silicon is not None and any("derived" in note for note in m3.notes)
    (class_only,) = devices("avx2")
    assert class_only.silicon is None


def test_an_unknown_device_is_one_sentence_with_the_nearest():
    with pytest.raises(UsageError, match="no device named RTX4091") as caught:
        devices("RTX4091")
    assert caught.value.hint.startswith("Did you mean rtx40")
    with pytest.raises(UsageError, match="no device named abacus") as caught:
        devices("abacus")
    assert caught.value.hint.startswith("For example THIS, H100")


def test_formats_of_containers():
    assert format_of(bundle_of(), CATALOGUE) == "safetensors"
    assert format_of(bundle_of(container="gguf"), CATALOGUE) == "gguf"
    with pytest.raises(UnsupportedError, match="no format"):
        format_of(replace(bundle_of(), container="a drawing"), CATALOGUE)


@pytest.mark.parametrize(
    ("start", "goal", "hops"),
    [
        ("safetensors", "safetensors", 0),
        ("safetensors", "gguf", 1),
        ("pickle", "openvino", 1),
        ("gguf", "mlx", 2),
        ("safetensors", "nowhere", None),
    ],
)
def test_the_shortest_way(start, goal, hops):
    found = way(CATALOGUE, start, goal)
    assert (None if found is None else len(found)) == hops
    assert all(hop.by == "fairway" and "compared" in hop.proof for hop in found or ())


def test_every_hop_of_a_route_is_one_that_fairway_runs():
    targets = {hop.target for hop in HOPS} | {"pickle", "safetensors"}
    for goal in ("gguf", "onnx", "openvino", "mlx"):
        assert {hop.writes for hop in way(CATALOGUE, "safetensors", goal)} <= targets
