"""Decoder families: what a config.json means and how its forward pass is recorded."""
