"""Generated projects as their owners use them: suites, commands, CI and documents."""
