"""Measurements of Fairway, alone and beside its peers. Nothing in the package imports this."""
