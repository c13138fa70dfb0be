"""Fairway carries an AI model from checkpoint to production endpoint."""

__version__ = "0.1.0"
