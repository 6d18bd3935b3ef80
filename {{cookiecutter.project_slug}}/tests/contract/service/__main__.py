"""The command line of the service under test."""

from bottle_service.cli import main

from . import SERVICE

if __name__ == "__main__":
    main(SERVICE)
