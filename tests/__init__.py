"""The tests of the template. Those of the generated service are in its own tree."""
