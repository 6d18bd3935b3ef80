"""Shared by the tests of all folders: projects, programs, servers and clients."""
