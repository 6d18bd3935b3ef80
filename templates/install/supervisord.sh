# Functions for supervisord: $slug:1 is the service, and $slug:0 keeps its socket open.
service=$slug:1
socket=/run/$slug/$slug.sock
log=/var/log/$slug/$slug.log
trial=/run/$slug/trial/socket
trial_log=/var/log/$slug/trial.log
identity=(--reuid "$slug" --regid "$slug" --init-groups)
programs=(supervisorctl systemd-tmpfiles) packages=' supervisor'
trial_id=''

service_files() {  # print the files of deploy/ and their target paths
    echo "supervisor/$slug.tmpfiles /etc/tmpfiles.d/$slug.conf"
    echo "supervisor/$slug.conf /etc/supervisor/conf.d/$slug.conf"
}

prepare_service() {
    getent passwd "$slug" >/dev/null || step "create the user $slug" useradd --system \
        --user-group --home-dir "/var/lib/$slug" --shell /usr/sbin/nologin "$slug"
    $dry_run || systemd-tmpfiles --create "$tree/deploy/supervisor/$slug.tmpfiles"
}

as_service() { setpriv "${identity[@]}" "$release/deploy/supervisor/run.sh" "$@" </dev/null; }

build_service() { :; }  # cron runs commands by run.sh

verify() { :; }  # supervisord can check only its installed files

begin_trial() {
    local ends=$((SECONDS + READY))
    install -d -o "$slug" -g "$slug" -m 0700 "${trial%/*}"
    setsid setpriv "${identity[@]}" "$release/deploy/supervisor/run.sh" serve \
        WEB_CONCURRENCY=1 BIND="unix:$trial" TMPDIR="${trial%/*}" \
        </dev/null >"$trial_log" 2>&1 9>&- &
    trial_id=$!
    disown
    until is_ready "$trial" $((ends - SECONDS)); do
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

running() { readlink "/proc/$(process)/cwd"; }  # print the release that serves

register() {  # have supervisord read the files; restart() applies them
    local output
    $dry_run || output=$(supervisorctl reread 2>&1) || fail "supervisord rejects its files: $output"
}

restart() {  # READY counts from the end of the old process, which first completes its requests
    local ends
    {
        supervisorctl stop "$service"
        supervisorctl update "$slug"
        # In the background, because this command waits until `startsecs` (10 s) are over.
        supervisorctl start "$slug:*" 9>&- &
    } &>/dev/null
    ends=$((SECONDS + READY))
    while ((SECONDS < ends)); do
        is_ready "$socket" $((ends - SECONDS)) && return
        sleep 0.1
    done
    ! $switching || give_up  # in a rollback supervisord keeps trying
    return 1
}

give_up() {  # a loop, because supervisord restarts a process that is killed before it reads `stop`
    local process
    supervisorctl stop "$service" >/dev/null 9>&- &
    while [[ -d /proc/$! ]]; do
        process=$(process)  # 0 after its end
        [[ $process == 0 ]] || kill -KILL -- "-$process"
        sleep 0.1
    done
}

reload_nginx() { nginx -s reload 2>/dev/null || service nginx start; }

disable() {
    rm "/etc/supervisor/conf.d/$slug.conf"
    supervisorctl update "$slug" >/dev/null
}
