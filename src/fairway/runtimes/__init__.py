"""Whoever can answer: our own engine and adapters to the field's engines, behind one protocol."""
