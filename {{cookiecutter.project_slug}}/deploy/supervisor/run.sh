#!/bin/sh
# <% set slug = cookiecutter.project_slug %>
# Run a command of this release in the environment of the service. Call it as the service's user:
#
#   runuser -u {{ slug }} -- /opt/{{ slug }}/current/deploy/supervisor/run.sh COMMAND [NAME=VALUE | ARGUMENT]…
#
# supervisord passes 1 to run `serve` on its socket, and 0 for the process that keeps the socket open.
set -eu
release=$(cd "$(dirname "$0")/../.." && pwd -P)
cd "$release"
umask 027

case $1 in
    0) exec sleep infinity ;;
    1)
        # Files of a service that was killed.
        rm -rf /run/{{ slug }}/tmp/*
        # supervisord passes the socket as standard input; pass it on as systemd does (sd_listen_fds(3)).
        exec 3<&0 </dev/null
        set -- serve LISTEN_FDS=1 LISTEN_PID=$$
        ;;
esac
# The variables come before the program, and the arguments, of which the command is the first, after it.
first=true
for word in "$@"; do
    if $first; then set -- "$release/.venv/bin/python" -m {{ cookiecutter.package_name }} && first=false; fi
    case $word in
        [A-Z]*=*) set -- "$word" "$@" ;;
        *) set -- "$@" "$word" ;;
    esac
done

# Drop the caller's environment. Each secret is a file of that name in CREDENTIALS_DIRECTORY.
exec prlimit --core=0 --nofile=8192 setpriv --no-new-privs env -i \
    PATH=/usr/bin LANG=C.UTF-8 TMPDIR=/run/{{ slug }}/tmp APP_ENV=production \
    ENV_FILE=/etc/{{ slug }}/{{ slug }}.env CREDENTIALS_DIRECTORY=/etc/{{ slug }}/credentials \
    PYTHONDONTWRITEBYTECODE=1 \
    "$@"
