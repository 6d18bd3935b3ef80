# Functions for systemd: $slug.service is the service, $slug.socket holds its socket.
service=$slug.service
socket=/run/$slug.sock
log="journalctl -u $slug"
trial=/run/$slug-trial.sock
trial_log="journalctl -u $slug-trial"
units=/etc/systemd/system
command_unit=$slug@.service  # runs a command of the service: $slug@NAME.service
dropin=$units/$slug.service.d/outbound.conf
dropins=("$dropin" "$units/$command_unit.d/outbound.conf")
programs=(systemctl) packages=''
outbound=''  # without an option, keep the current state

service_files() {  # RELEASE: print the files of deploy/ and their target paths
    local file
    echo "systemd/$slug.sysusers /etc/sysusers.d/$slug.conf"
    for file in "$slug.service" "$slug.socket"; do echo "systemd/$file $units/$file"; done
    # build() writes it; older versions of this script do not.
    if [[ $1 == "$tree" || -e $1/deploy/systemd/$command_unit ]]; then
        echo "systemd/$command_unit $units/$command_unit"
    fi
    for file in $(own_units "$1"); do
        echo "systemd/$file $units/$file"
        if $outbound && [[ $file == *.service ]]; then
            echo "systemd/outbound.conf $units/$file.d/outbound.conf"
        fi
    done
    if $outbound; then printf 'systemd/outbound.conf %s\n' "${dropins[@]}"; fi
    # <% if cookiecutter.wsgi_server == "uwsgi" %>
    if [[ -L $link ]]; then echo "uwsgi/$slug.tmpfiles /etc/tmpfiles.d/$slug.conf"; fi
    # <% endif %>
}

own_units() {  # RELEASE: print the file names of the units that its owner has added
    find "$1/deploy/systemd" \( -name "$slug-*.timer" -o -name "$slug-*.service" \) -printf '%f\n' | sort
}

is_enabled_at_boot() { grep -q '^\[Install\]' "$1"; }  # FILE: other units are started by a timer

started_units() {  # RELEASE: print those that start with the host
    local file
    for file in $(own_units "$1"); do
        if is_enabled_at_boot "$1/deploy/systemd/$file"; then echo "$file"; fi
    done
}

prepare_service() {
    getent passwd "$slug" >/dev/null ||
        step "create the user $slug" systemd-sysusers "$tree/deploy/systemd/$slug.sysusers"
}

sandbox() {  # UNIT…: print the lines of its service that hold for each of the service's processes
    sed -nEs \
        -e '/^(Type|Exec\w+|WorkingDirectory|Restart\w*|Watchdog\w*|TimeoutStart\w*)=/d' \
        -e '/^\[Service\]/,/^\[/ { /^[A-Z]\w+=/p }' "$@"
}

build_service() {  # write the unit of the service's commands: its timers start instances of it
    # The release is resolved once, because a command may run on while the next release is installed.
    cat - <(sandbox "$release/deploy/systemd/$slug.service") >"$release/deploy/systemd/$command_unit" <<END
[Unit]
Description=$slug, command %i
# <% if cookiecutter.database == "postgresql" %>
# At boot, a timer may start a backup before PostgreSQL responds.
After=postgresql.service
# <% endif %>

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cd -P $current && exec .venv/bin/python -m $package %i'
END
}

in_sandbox() {  # run a command of the release with the properties of its unit
    local properties files=("$release/deploy/systemd/$slug.service")
    if $outbound; then files+=("$release/deploy/systemd/outbound.conf"); fi
    mapfile -t properties < <(sandbox "${files[@]}")
    systemd-run --quiet --collect "${properties[@]/#/--property=}" --property=WorkingDirectory="$release" "$@"
}

as_service() { in_sandbox --wait --pipe "$python" -m "$package" "$@"; }

verify() {  # check the units, with the path of the release instead of the link `current`
    local file directory name names status=0
    directory=$(mktemp -d)
    for file in "$slug.service" "$slug.socket" "$command_unit" $(own_units "$release"); do
        [[ -e $release/deploy/systemd/$file ]] || continue
        sed "s|$current/|$release/|g" "$release/deploy/systemd/$file" >"$directory/$file"
    done
    systemd-analyze verify --recursive-errors=one "$directory"/* || status=$?
    # systemd does not know whether the command of a timer exists.
    mapfile -t names < <(sed -n "s/^Unit=$slug@\(.*\)\.service$/\1/p" "$directory"/*)
    for name in "${names[@]}"; do
        as_service "$name" --help >/dev/null || status=$?
    done
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

register() {  # RELEASE: have systemd read the files
    register_own_units "$1"
    systemctl --quiet is-enabled "$slug.socket" "$service" 2>/dev/null ||
        step "enable $slug.socket and $service" systemctl --quiet enable "$slug.socket" "$service"
}

register_own_units() {  # RELEASE: have systemd read the files, and start the units of the owner
    local file wanted from=$1 removed=()
    [[ -d $from ]] || from=$tree  # --dry-run
    wanted=$(files "$from")
    for file in "$units/$slug-"*.{timer,service,service.d/outbound.conf} "${dropins[@]}"; do
        if [[ -e $file && $wanted$'\n' != *" $file"$'\n'* ]] && is_managed "systemd/${file##*/}" "$file"; then
            removed+=("$file")
        fi
    done
    if [[ ${removed[*]} ]]; then
        step "remove ${removed[*]}" remove_units "${removed[@]}"
        service_changed=true
    fi
    if $service_changed && ! $dry_run; then systemctl daemon-reload; fi
    for file in $(started_units "$from"); do
        systemctl --quiet is-enabled "$file" 2>/dev/null || step "enable $file" systemctl --quiet enable "$file"
        # A timer gets its new schedule. A service completes its work, then starts with the new code.
        if $service_changed || [[ $file == *.service && $(running) != "$1" ]]; then
            step "restart $file" systemctl restart "$file"
        fi
    done
}

remove_units() {  # FILE…
    local file
    for file in "$@"; do
        if is_enabled_at_boot "$file"; then systemctl --quiet disable --now "${file##*/}"; fi
    done
    rm "$@"
}

restart() {  # READY counts from the end of the old process, which first completes its requests
    systemctl --quiet stop "$service"
    systemctl reset-failed "$service" "$slug.socket" &>/dev/null
    timeout "$READY" systemctl start "$service" && return
    systemctl kill --signal=KILL "$service" &>/dev/null
    return 1
}

reload_nginx() { systemctl reload-or-restart nginx; }

disable() {
    local names
    mapfile -t names < <(started_units "$release")
    systemctl --quiet disable --now "$service" "$slug.socket" "${names[@]}"
}
