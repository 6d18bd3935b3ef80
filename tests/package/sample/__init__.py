"""Service of the tests' own: the smallest one that uses every server."""
