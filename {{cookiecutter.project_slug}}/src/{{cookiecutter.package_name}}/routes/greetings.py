"""Greetings: an example of a resource without a database."""

from ..schemas import GreetingCreate, GreetingOut


def create(body: GreetingCreate) -> GreetingOut:
    """Greet somebody."""
    return GreetingOut(greeting=f"Hello, {body.name}!")
