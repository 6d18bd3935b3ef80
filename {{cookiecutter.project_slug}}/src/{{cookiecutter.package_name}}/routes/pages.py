"""HTML pages, static files, and the documentation of the API."""

from bottle import HTTPResponse

from bottle_service.assets import Assets
from bottle_service.openapi import OpenAPI
from bottle_service.overview import Overview
from bottle_service.views import Views


def home(views: Views, overview: Overview | None) -> HTTPResponse:
    if overview:  # development shows the routes and settings instead
        return overview.page()
    return views.page("home")


def static(path: str, assets: Assets) -> HTTPResponse:
    return assets.serve(path)


def openapi(openapi: OpenAPI) -> HTTPResponse:
    """The OpenAPI document."""
    return openapi.document()


def docs(openapi: OpenAPI) -> HTTPResponse:
    """A page that shows the OpenAPI document."""
    return openapi.page()
