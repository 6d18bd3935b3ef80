"""Command line of the sample service."""

from bottle_service.cli import main

from .app import SERVICE

if __name__ == "__main__":
    main(SERVICE)
