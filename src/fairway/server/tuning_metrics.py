"""Fine-tuning jobs in Prometheus' format: how many have which status, and how far the one in training is."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fairway.tune.jobs.overview import InTraining, Overview

# Name, help, and how to read it from the job in training.
GAUGES: tuple[tuple[str, str, Callable[[InTraining], float]], ...] = (
    ("step", "Updates done by the job in training.", lambda job: job.step),
    ("steps", "Updates that the job in training makes in all.", lambda job: job.num_steps),
    ("loss", "Loss of the last update of the job in training.", lambda job: job.loss),
)


class TuningCollector(Collector):
    """Asks for the jobs once per scrape."""

    def __init__(self, look: Callable[[], Overview]) -> None:
        self._look = look

    def collect(self) -> Iterable[Metric]:
        found = self._look()
        jobs = GaugeMetricFamily("fairway_fine_tuning_jobs", "Fine-tuning jobs by status.", labels=["status"])
        for status, count in found.num_jobs.items():
            jobs.add_metric([status], count)
        yield jobs
        for name, help_text, read in GAUGES:
            gauge = GaugeMetricFamily(f"fairway_fine_tuning_{name}", help_text, labels=["job", "model"])
            if found.in_training is not None:
                gauge.add_metric([found.in_training.job_id, found.in_training.model], read(found.in_training))
            yield gauge
