"""Mutants of deploy files, reverted fixes, and the tests that have to kill them."""
