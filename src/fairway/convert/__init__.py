"""Hops between containers and types: streamed, checked against their source and published whole."""
