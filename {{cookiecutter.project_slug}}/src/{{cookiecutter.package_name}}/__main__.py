"""The command line: python -m {{ cookiecutter.package_name }} COMMAND; `--help` lists the commands."""

from bottle_service.cli import main

from .app import SERVICE

if __name__ == "__main__":
    main(SERVICE)
