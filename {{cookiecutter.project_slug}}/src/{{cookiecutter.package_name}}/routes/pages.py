"""HTML pages and static files."""

from bottle import HTTPResponse

from bottle_service.assets import Assets
from bottle_service.overview import Overview
from bottle_service.views import Views


def home(views: Views, overview: Overview | None) -> HTTPResponse:
    if overview:  # development shows the routes and settings instead
        return overview.page()
    return views.page("home")


def static(path: str, assets: Assets) -> HTTPResponse:
    return assets.serve(path)
