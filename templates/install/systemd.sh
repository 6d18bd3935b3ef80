# Functions for systemd: $slug.service is the service, $slug.socket holds its socket.
service=$slug.service
socket=/run/$slug.sock
log="journalctl -u $slug"
trial=/run/$slug-trial.sock
trial_log="journalctl -u $slug-trial"
dropin=/etc/systemd/system/$slug.service.d/outbound.conf
programs=(systemctl) packages=''
outbound=''  # without an option, keep the current state

service_files() {  # print the files of deploy/ and their target paths
    echo "systemd/$slug.sysusers /etc/sysusers.d/$slug.conf"
    echo "systemd/$slug.service /etc/systemd/system/$slug.service"
    echo "systemd/$slug.socket /etc/systemd/system/$slug.socket"
    if $outbound; then echo "systemd/outbound.conf $dropin"; fi
    # <% if cookiecutter.wsgi_server == "uwsgi" %>
    if [[ -L $link ]]; then echo "uwsgi/$slug.tmpfiles /etc/tmpfiles.d/$slug.conf"; fi
    # <% endif %>
}

prepare_service() {
    getent passwd "$slug" >/dev/null ||
        step "create the user $slug" systemd-sysusers "$tree/deploy/systemd/$slug.sysusers"
}

in_sandbox() {  # run a command of the release with the properties of its unit
    local properties units=("$release/deploy/systemd/$slug.service")
    if $outbound; then units+=("$release/deploy/systemd/outbound.conf"); fi
    mapfile -t properties < <(sed -nEs \
        -e '/^(Type|Exec\w+|WorkingDirectory|Restart\w*|Watchdog\w*|TimeoutStart\w*)=/d' \
        -e '/^\[Service\]/,/^\[/ s/^[A-Z]\w+=/--property=&/p' "${units[@]}")
    systemd-run --quiet --collect "${properties[@]}" --property=WorkingDirectory="$release" "$@"
}

as_service() { in_sandbox --wait --pipe "$python" -m "$package" "$1"; }

verify() {  # check the units, with the path of the release instead of the link `current`
    local file directory status=0
    directory=$(mktemp -d)
    for file in "$slug.service" "$slug.socket"; do
        sed "s|$current/|$release/|g" "$release/deploy/systemd/$file" >"$directory/$file"
    done
    systemd-analyze verify --recursive-errors=one "$directory"/* || status=$?
    rm -r "$directory"
    return "$status"
}

begin_trial() {  # no client waits for its responses, so systemd ends it with SIGKILL
    local command
    command=$(sed -n "s|$current/|$release/|g; s/^ExecStart=//p" "$release/deploy/systemd/$slug.service")
    # shellcheck disable=SC2086  # the command has no quoted words
    in_sandbox --unit="$slug-trial" --service-type=notify --property=TimeoutStartSec="$READY" \
        --property=KillSignal=SIGKILL --setenv=WEB_CONCURRENCY=1 \
        --socket-property=ListenStream="$trial" --socket-property=SocketUser="$slug" \
        --socket-property=SocketMode=0600 --socket-property=RemoveOnStop=yes $command || return
    systemctl start "$slug-trial.service"
}

end_trial() { systemctl stop "$slug-trial.socket" "$slug-trial.service" &>/dev/null || true; }

main_process() { systemctl show --property=MainPID --value "$1"; }

trial_process() { main_process "$slug-trial.service"; }

process() { main_process "$service"; }

running() {  # print the release that serves
    if systemctl --quiet is-active "$service"; then readlink "/proc/$(process)/cwd"; fi
}

register() {  # have systemd read the files
    if ! $outbound && [[ -e $dropin ]] && is_managed systemd/outbound.conf "$dropin"; then
        step "remove $dropin" rm "$dropin"
        service_changed=true
    fi
    if $service_changed && ! $dry_run; then systemctl daemon-reload; fi
    systemctl --quiet is-enabled "$slug.socket" "$service" 2>/dev/null ||
        step "enable $slug.socket and $service" systemctl --quiet enable "$slug.socket" "$service"
}

restart() {  # READY counts from the end of the old process, which first completes its requests
    systemctl --quiet stop "$service"
    systemctl reset-failed "$service" "$slug.socket" &>/dev/null
    timeout "$READY" systemctl start "$service" && return
    systemctl kill --signal=KILL "$service" &>/dev/null
    return 1
}

reload_nginx() { systemctl reload-or-restart nginx; }

disable() { systemctl --quiet disable --now "$service" "$slug.socket"; }
