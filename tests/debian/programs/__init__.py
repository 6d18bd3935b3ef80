"""Programs that the tests start in a machine, or add to the service that is installed there."""
