"""What a WSGI server imports: the only module where something happens at import."""

import atexit
import os

from .app import SERVICE, create_app
# <% if cookiecutter.wsgi_server == "uwsgi" %>
from .server import outlive_master
# <% endif %>
from .settings import load_settings
from .telemetry import logs
from .web.observe import request_id

settings = load_settings(os.environ)
logs.configure(settings, SERVICE, request_id.get)
app = create_app(settings)
atexit.register(app.close)
# <% if cookiecutter.wsgi_server == "uwsgi" %>
outlive_master()
# <% endif %>
