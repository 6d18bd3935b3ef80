"""Workflows of GitHub and GitLab, of generated projects and of the template, run step by step."""
