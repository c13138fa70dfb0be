"""Reads /metrics back into numbers."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One reading; a call sums every sample of that name with those labels."""

    def __init__(self, url: str, headers: dict | None = None) -> None:
        answer = httpx.get(url + "/metrics", headers=headers)
        answer.raise_for_status()
        self._samples = [
            sample for family in text_string_to_metric_families(answer.text) for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == "fairway_" + name and labels.items() <= sample.labels.items()
        )
