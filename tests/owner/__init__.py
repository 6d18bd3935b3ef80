"""Projects whose owner changes them, removes the examples, or updates them from a release."""
