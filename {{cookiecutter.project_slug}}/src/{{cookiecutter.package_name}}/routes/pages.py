"""What a browser shows."""

from bottle import HTTPResponse

from ..web.static import StaticFiles
from ..web.views import Views


def home(views: Views) -> HTTPResponse:
    return views.page("home")


def static(path: str, static_files: StaticFiles) -> HTTPResponse:
    return static_files.serve(path)
