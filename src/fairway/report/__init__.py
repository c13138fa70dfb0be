"""Self-contained pages for people: what a proof found, what a model file holds."""
