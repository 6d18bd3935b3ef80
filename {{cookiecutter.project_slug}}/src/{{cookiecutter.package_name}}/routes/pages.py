"""What a browser shows."""

from bottle import HTTPResponse

from ..assets import Assets
from ..web.views import Views


def home(views: Views) -> HTTPResponse:
    return views.page("home")


def static(path: str, assets: Assets) -> HTTPResponse:
    return assets.serve(path)
