# Where the emperor's directory has the service, this differs. The emperor's child is the vassal,
# whose child is the server; a request starts them.
emperor=emperor.uwsgi.service
link=/etc/uwsgi/vassals/$slug.ini
if [[ -L $link ]]; then
    service="the vassal $slug"
    log="journalctl -u $emperor"

    verify() {  # the vassal's file, as the emperor reads it, up to where it starts the release
        local told patch=--unprivileged-binary-patch-arg
        told=$(uwsgi-core --ini "$release/deploy/uwsgi/$slug.ini" "$patch" true 2>&1) ||
            fail "the release is not installed: its vassal's file is wrong: ${told##*$'\n'}"
    }

    children() { cat "/proc/$1/task/$1/children"; }

    vassal() {
        local process
        for process in $(children "$(main_process "$emperor")"); do
            [[ $(readlink "/proc/$process/cwd") != "$releases"/* ]] || echo "$process"
        done
    }

    process() { children "$(vassal)" | cut -d ' ' -f 1; }

    running() { ready "$socket" "${1:-$READY}" && readlink "/proc/$(vassal)/cwd"; }

    register() { $dry_run || systemd-tmpfiles --create "/etc/tmpfiles.d/$slug.conf"; }

    restart() {  # what the old process still answers does not count for the time of the new one
        local old ends=$((SECONDS + 60))
        old=$(vassal)
        # One that does not become ready hears nothing; what waits for it is lost.
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
