"""Installed services on booted Debian machines."""
