"""Unit tests of the package that every generated project contains."""
