"""A production service on Bottle, shipped as source by cookiecutter-bottle-service.

This package is the template's: `make update-template` merges its next version. It imports nothing
of the service, and its files are the same in every project. The service's package joins its parts
in `app.py`:

    http        typed handlers, problem details and middleware around a Bottle
    telemetry   log entries, the access log and metrics
    settings    typed settings; config.py reads them from environment, files and credentials
    assets      static files          views     HTML pages
    database    transactions and migrations
    servers     one module for each WSGI server
    service     the parts of a service, for cli.py, devserver.py and the WSGI servers
"""

__all__ = ["__version__"]

__version__ = "0.3.0.dev0"
