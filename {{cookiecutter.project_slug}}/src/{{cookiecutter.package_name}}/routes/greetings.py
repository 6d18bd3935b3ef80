"""The greetings: an example of a resource without a database."""

from ..models import Greeting, Name


def create(body: Name) -> Greeting:
    return Greeting(greeting=f"Hello, {body.name}!")
