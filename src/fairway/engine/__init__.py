"""The engine: schedule, run, sample, commit. Knows a Runner, never torch, HTTP or a file format."""
