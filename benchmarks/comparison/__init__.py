"""The parts of `benchmarks/compare.py`: what is measured, the turns, the results."""
