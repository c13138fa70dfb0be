"""The parts of the workload benchmarks: prefix reuse, long context, quality, engines side by side."""
