#!/bin/sh
# <% set slug = cookiecutter.project_slug %>
# Run a command of this release, as the service's user, in the environment that it serves in:
#
#   runuser -u {{ slug }} -- /opt/{{ slug }}/current/deploy/supervisor/run.sh check [NAME=VALUE…]
#
# supervisord says 1 for `serve` on the socket it listens on, and 0 for what keeps that open.
set -eu
release=$(cd "$(dirname "$0")/../.." && pwd -P)
cd "$release"
umask 027

case $1 in
    0) exec sleep infinity ;;
    1)
        # What a service that was killed has left.
        rm -rf /run/{{ slug }}/tmp/*
        # Standard input is the socket, which is handed on as systemd does (sd_listen_fds(3)).
        exec 3<&0 </dev/null
        set -- serve LISTEN_FDS=1 LISTEN_PID=$$
        ;;
esac
command=$1
shift

# Nothing of the caller's environment. A secret is a file of its name among the credentials.
exec prlimit --core=0 --nofile=8192 setpriv --no-new-privs env -i \
    PATH=/usr/bin LANG=C.UTF-8 TMPDIR=/run/{{ slug }}/tmp APP_ENV=production \
    ENV_FILE=/etc/{{ slug }}/{{ slug }}.env CREDENTIALS_DIRECTORY=/etc/{{ slug }}/credentials \
    PYTHONDONTWRITEBYTECODE=1 \
    "$@" "$release/.venv/bin/python" -m {{ cookiecutter.package_name }} "$command"
