"""Hostile requests from a seed, and the checks of every response."""
