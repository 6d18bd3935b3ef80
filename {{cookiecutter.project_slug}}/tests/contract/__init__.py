"""The template's tests: the service keeps its contract, and the deploy files agree with it."""
