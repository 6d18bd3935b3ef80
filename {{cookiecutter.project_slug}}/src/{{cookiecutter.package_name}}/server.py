# <% include "server/" ~ cookiecutter.wsgi_server ~ ".py" %>
