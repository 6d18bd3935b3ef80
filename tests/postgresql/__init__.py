"""Generated projects on PostgreSQL: their suites, and failures of the server under load."""
