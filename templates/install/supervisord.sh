# What supervisord does here: $slug:1 is the service, and $slug:0 keeps its socket open meanwhile.
service=$slug:1
socket=/run/$slug/$slug.sock
log=/var/log/$slug/$slug.log
trial=/run/$slug/trial/socket
trial_log=/var/log/$slug/trial.log
identity=(--reuid "$slug" --regid "$slug" --init-groups)
programs=(supervisorctl systemd-tmpfiles) packages=' supervisor'
trial_id=''

service_files() {  # which file of deploy/ belongs where
    echo "supervisor/$slug.tmpfiles /etc/tmpfiles.d/$slug.conf"
    echo "supervisor/$slug.conf /etc/supervisor/conf.d/$slug.conf"
}

prepare_service() {
    getent passwd "$slug" >/dev/null || step "create the user $slug" useradd --system \
        --user-group --home-dir "/var/lib/$slug" --shell /usr/sbin/nologin "$slug"
    $dry_run || systemd-tmpfiles --create "$tree/deploy/supervisor/$slug.tmpfiles"
}

as_service() { setpriv "${identity[@]}" "$release/deploy/supervisor/run.sh" "$1" </dev/null; }

verify() { :; }  # supervisord cannot check a file that it does not run

begin_trial() {
    local ends=$((SECONDS + READY))
    install -d -o "$slug" -g "$slug" -m 0700 "${trial%/*}"
    setsid setpriv "${identity[@]}" "$release/deploy/supervisor/run.sh" serve \
        WEB_CONCURRENCY=1 BIND="unix:$trial" TMPDIR="${trial%/*}" \
        </dev/null >"$trial_log" 2>&1 9>&- &
    trial_id=$!
    disown
    until ready "$trial" $((ends - SECONDS)); do
        [[ -d /proc/$trial_id ]] && ((SECONDS < ends)) || return
        sleep 0.1
    done
}

end_trial() {
    [[ -z $trial_id ]] || kill -KILL -- "-$trial_id" 2>/dev/null || true
    rm -rf "${trial%/*}"
}

trial_process() { echo "$trial_id"; }

process() { supervisorctl pid "$service"; }

running() { readlink "/proc/$(process)/cwd"; }  # the release that serves

register() {  # let supervisord read its files, which it does not act on yet
    local told
    $dry_run || told=$(supervisorctl reread 2>&1) || fail "supervisord refuses its files: $told"
}

restart() {  # what the old process still answers does not count for the time of the new one
    local ends
    {
        supervisorctl stop "$service"
        supervisorctl update "$slug"
        # It would wait for the ten seconds after which supervisord believes in it.
        supervisorctl start "$slug:*" 9>&- &
    } &>/dev/null
    ends=$((SECONDS + READY))
    while ((SECONDS < ends)); do
        ready "$socket" $((ends - SECONDS)) && return
        sleep 0.1
    done
    ! $switching || give_up  # on the way back there is nothing better than to go on trying
    return 1
}

give_up() {  # what is killed before supervisord hears of the stop is started, and killed, once more
    local process
    supervisorctl stop "$service" >/dev/null 9>&- &
    while [[ -d /proc/$! ]]; do
        process=$(process)  # 0 if it has ended
        [[ $process == 0 ]] || kill -KILL -- "-$process"
        sleep 0.1
    done
}

reload_nginx() { nginx -s reload 2>/dev/null || service nginx start; }

disable() {
    rm "/etc/supervisor/conf.d/$slug.conf"
    supervisorctl update "$slug" >/dev/null
}
