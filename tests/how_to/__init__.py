"""Pages of docs/how-to/, each applied to a fresh project that is then tested."""
