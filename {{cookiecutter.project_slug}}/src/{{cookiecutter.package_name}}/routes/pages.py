"""HTML pages and static files."""

from bottle import HTTPResponse

from bottle_service.assets import Assets
from bottle_service.views import Views


def home(views: Views) -> HTTPResponse:
    return views.page("home")


def static(path: str, assets: Assets) -> HTTPResponse:
    return assets.serve(path)
