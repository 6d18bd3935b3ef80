"""Generation: prompts, combinations of answers, locks, updates and the template's commands."""
