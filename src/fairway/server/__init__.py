"""HTTP: dialects, streaming, keys, limits and metrics over anything that is a `Runtime`."""
