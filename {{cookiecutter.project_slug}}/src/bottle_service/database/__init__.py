"""The database: transactions for requests, column types and migrations."""
