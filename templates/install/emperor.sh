# Functions that replace those for systemd if the emperor's directory has a link to the service. The
# emperor's child is the vassal, and the vassal's child is the server; a request starts both.
emperor=emperor.uwsgi.service
link=/etc/uwsgi/vassals/$slug.ini
if [[ -L $link ]]; then
    service="the vassal $slug"
    log="journalctl -u $emperor"

    verify() {  # read the vassal's file as the emperor does, but do not start the release
        local output patch=--unprivileged-binary-patch-arg
        output=$(uwsgi-core --ini "$release/deploy/uwsgi/$slug.ini" "$patch" true 2>&1) ||
            fail "the release is rejected because its vassal file is invalid: ${output##*$'\n'}"
    }

    children() { cat "/proc/$1/task/$1/children"; }

    vassal() {
        local process
        for process in $(children "$(main_process "$emperor")"); do
            [[ $(readlink "/proc/$process/cwd") != "$releases"/* ]] || echo "$process"
        done
    }

    process() { children "$(vassal)" | cut -d ' ' -f 1; }

    running() { is_ready "$socket" "${1:-$READY}" && readlink "/proc/$(vassal)/cwd"; }

    register() {  # RELEASE
        register_own_units "$1"
        $dry_run || systemd-tmpfiles --create "/etc/tmpfiles.d/$slug.conf"
    }

    restart() {  # READY counts from the end of the old process, which first completes its requests
        local old ends=$((SECONDS + 60))
        old=$(vassal)
        # A vassal that does not become ready ignores a touch: kill it. Requests that wait for it fail.
        if $switching || [[ -z $old ]]; then touch -h "$link"; else kill -KILL "$old"; fi
        while [[ -n $old && -d /proc/$old ]] && ((SECONDS < ends)); do sleep 0.1; done
        ends=$((SECONDS + READY))
        while ((SECONDS < ends)); do
            [[ $(running $((ends - SECONDS))) != "$(readlink "$current")" ]] || return 0
            sleep 0.1
        done
        return 1
    }

    disable() { rm "$link"; }
fi
