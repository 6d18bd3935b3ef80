"""Generated Nginx sites in front of the started service."""
