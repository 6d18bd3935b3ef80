"""Tests of the template, in folders by what they need. A generated service has its own tests."""
