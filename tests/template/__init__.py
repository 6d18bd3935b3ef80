"""Generation: prompts, combinations of answers, Jinja, the template's own commands and prose."""
