"""Prices against each other: units, the articles' figures, and what follows from them."""

import pytest

from fairway.map.catalogue import load_catalogue

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
PRICES = CATALOGUE.prices
# Article 4: provider, A100 40 GB and H100 in dollars per hour, billing, what it is for.
GPU_HOURS = [
    ("lambda", 1.10, 2.49, "second", "training"),
    ("runpod", 1.19, 3.29, "minute", "flexibility"),
    ("vast", 0.80, 2.50, "hour", "budget"),
    ("aws", 4.10, 6.98, "second", "enterprise"),
    ("gcp", 3.67, 5.67, "second", "enterprise"),
    ("azure", 3.67, 5.12, "second", "enterprise"),
]
# Article 4: what interruptible machines save, and how reliable they are.
SAVINGS = [
    ("aws-spot", 0.60, 0.90, "low"),
    ("gcp-spot", 0.60, 0.91, "low"),
    ("lambda-on-demand", 0.0, None, "high"),
]


@pytest.mark.parametrize(("provider", "a100", "h100", "billing", "fits"), GPU_HOURS)
def test_a_row_of_the_providers_table(provider, a100, h100, billing, fits):
    for name, price in (("a100", a100), ("h100", h100)):
        row = PRICES[f"{provider}-{name}"]
        assert (row.provider, row.low, row.unit, row.hardware) == (provider, price, "hour", (name,))
        assert (row.billing, row.fits, row.sources, row.date) == (
            f"per {billing}", fits, ("article-4",), "2026-02-03"
        )  # fmt: skip
        assert row.is_about == (provider == "vast")


@pytest.mark.parametrize(("name", "low", "high", "reliability"), SAVINGS)
def test_a_row_of_the_savings_table(name, low, high, reliability):
    row = PRICES[name]
    assert (row.low, row.high, row.unit) == (low, high, "share")
    assert f"Reliability {reliability}" in row.note


def test_modals_price_per_second_is_the_articles_per_hour_and_an_h100s():
    article = PRICES["modal-a100"]
    assert article.low == 0.0011
    assert article.usd_per_hour == pytest.approx(3.96)
    listed = PRICES["modal-h100-2026-05"]
    assert listed.usd_per_hour == pytest.approx(3.9492)
    assert article.usd_per_hour == pytest.approx(listed.usd_per_hour, rel=0.003)
    assert PRICES["modal-a100-80-2026-05"].usd_per_hour < 0.65 * article.usd_per_hour


def test_serverless_costs_more_per_hour_than_the_same_gpu_rented():
    modal = PRICES["modal-h100-2026-05"].usd_per_hour
    assert (
        modal > PRICES["lambda-h100-2026-05"].usd_per_hour > PRICES["lambda-h100-pcie-2026-05"].usd_per_hour
    )
    below = PRICES["lambda-h100-2026-05"].usd_per_hour / modal
    assert 0.9 < below < 1.0


def test_a_spot_machine_at_the_articles_best_is_a_tenth():
    aws = PRICES["aws-h100"].usd_per_hour
    assert aws * (1 - PRICES["aws-spot"].high) == pytest.approx(0.698)


def test_tokens_at_together_against_an_h100_by_the_hour():
    per_million = PRICES["together-llama-8b"].low
    break_even = PRICES["lambda-h100"].usd_per_hour / per_million * 1e6 / 3600
    assert break_even == pytest.approx(3843, abs=1)


def test_only_devices_have_an_hourly_price():
    for price in PRICES.values():
        assert (price.usd_per_hour is not None) == (price.kind == "gpu"), price.id
        assert price.low >= 0 and (price.high is None or price.high > price.low), price.id
        assert bool(price.hardware) == (price.kind == "gpu"), price.id


def test_prices_of_a_device_come_cheapest_first():
    hours = [price.usd_per_hour for price in CATALOGUE.prices_of("h100")]
    assert len(hours) >= 9 and hours == sorted(hours)


@pytest.mark.parametrize(
    ("name", "low", "unit"),
    [
        ("hub-pro", 9.0, "month"),
        ("wandb-teams", 50.0, "user and month"),
        ("together-llama-8b", 0.18, "million tokens"),
        ("mlflow-free", 0.0, "month"),
        ("vllm-free", 0.0, "month"),
    ],
)
def test_other_prices_of_article_4(name, low, unit):
    assert (PRICES[name].low, PRICES[name].unit) == (low, unit)
