"""What an operator asks of a server, in Prometheus' format.

One registry per app, so two servers in one process do not mix. What the engine counts (`stats`) is
read when scraped; what clients experience (times, statuses, how answers ended) is observed here.
The rule: every answer that was begun is counted exactly once under how it ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairway.runtimes.protocol import Runtime, RuntimeStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FIRST_TOKEN_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
BETWEEN_TOKENS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
WHOLE_ANSWER_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

# Name, help, and how to read it from a runtime's snapshot.
GAUGES = (
    ("requests_running", "Answers the engine is working on.", lambda s: s.num_running),
    ("requests_waiting", "Answers waiting for the engine.", lambda s: s.num_waiting),
    ("kv_blocks", "Blocks of the key/value cache.", lambda s: s.kv_blocks_total),
    ("kv_blocks_used", "Blocks held by running answers.", lambda s: s.kv_blocks_used),
    ("kv_blocks_cached", "Blocks held by the prefix cache alone.", lambda s: s.kv_blocks_cached),
    ("kv_usage_ratio", "Share of blocks held by running answers.", lambda s: _ratio(s)),
)
COUNTERS = (
    ("prompt_tokens", "Prompt tokens accepted.", lambda s: s.prompt_tokens_total),
    ("prompt_tokens_cached", "Prompt tokens found in the prefix cache.", lambda s: s.cached_tokens_total),
    ("generated_tokens", "Tokens generated.", lambda s: s.generated_tokens_total),
    ("preemptions", "Answers put back into the queue to make room.", lambda s: s.preemptions_total),
)


class Metrics:
    """Instruments of one app. `http` and the per-model instruments are labelled children."""

    def __init__(self, models: Mapping[str, Runtime], *others: Collector) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (_RuntimeCollector(models), *others):
            self.registry.register(collector)
        self.http_requests = self._counter(
            "http_requests",
            "HTTP requests by status; 499 is a client that left first.",
            "method",
            "route",
            "status",
        )
        self.answers = self._counter("answers", "Answers begun, by how they ended.", "model", "finish_reason")
        self.in_flight = Gauge(
            "fairway_answers_in_flight", "Answers not ended yet.", ["model"], registry=self.registry
        )
        self.first_token = self._histogram(
            "time_to_first_token_seconds", "From the request to an answer's first token.", FIRST_TOKEN_S
        )
        self.between_tokens = self._histogram(
            "inter_token_latency_seconds", "Between two tokens of an answer.", BETWEEN_TOKENS_S
        )
        self.whole_answer = self._histogram(
            "answer_duration_seconds", "From the request to the end of an answer.", WHOLE_ANSWER_S
        )

    def render(self) -> bytes:
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"fairway_{name}", help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"fairway_{name}", help_text, ["model"], buckets=buckets, registry=self.registry)


class _RuntimeCollector(Collector):
    """Reads each runtime's snapshot once per scrape."""

    def __init__(self, models: Mapping[str, Runtime]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        stats = {name: runtime.stats() for name, runtime in self._models.items()}
        for name, help_text, read in GAUGES:
            gauge = GaugeMetricFamily(f"fairway_{name}", help_text, labels=["model"])
            for model, each in stats.items():
                gauge.add_metric([model], read(each))
            yield gauge
        for name, help_text, read in COUNTERS:
            counter = CounterMetricFamily(f"fairway_{name}", help_text, labels=["model"])
            for model, each in stats.items():
                counter.add_metric([model], read(each))
            yield counter
        yield _engine_requests(stats)
        yield _memory()


def _engine_requests(stats: Mapping[str, RuntimeStats]) -> Metric:
    family = CounterMetricFamily(
        "fairway_engine_requests",
        "Requests the engine finished, by reason.",
        labels=["model", "finish_reason"],
    )
    for model, each in stats.items():
        for reason, count in each.requests_total.items():
            family.add_metric([model, reason], count)
    return family


def _memory() -> Metric:
    resident = psutil.Process().memory_info().rss
    return GaugeMetricFamily("fairway_process_resident_memory_bytes", "Memory this process holds.", resident)


def _ratio(stats: RuntimeStats) -> float:
    return stats.kv_blocks_used / stats.kv_blocks_total if stats.kv_blocks_total else 0.0
