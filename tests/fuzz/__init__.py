"""Hostile requests from a seed, and what must be true of every answer."""
