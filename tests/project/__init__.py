"""Generated projects as their owners use them: suites, commands and documents."""
