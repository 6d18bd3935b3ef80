"""Tokens of the sample service."""

TOKEN = "t" * 32
ADMIN_TOKEN = "a" * 40
