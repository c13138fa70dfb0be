"""The map that decides: what a model needs, what a machine has, and which way to go."""
