#!/usr/bin/env bash
# <% set slug = cookiecutter.project_slug %>
# Install this tree as a release of {{ slug }}, as root on Debian 12, Ubuntu 24.04 or later:
#
#   deploy/install.sh [--release ID] [--dry-run] [--self-signed]{{ ' [--outbound | --no-outbound]' if cookiecutter.supervisor == 'systemd' }}
#
#   --release ID    take the release that is in /opt/{{ slug }}/releases/ID: the way back
#   --dry-run       change nothing, print what would be done
#   --self-signed   make a certificate for {{ cookiecutter.domain_name }} if there is none
# <% if cookiecutter.supervisor == "systemd" %>
#   --outbound      let the service connect to the network (systemd/outbound.conf), from now on
# <% endif %>
#
# Run again it does what is left to do. If anything fails, the release that ran before runs again
# and the exit status is not 0. A database's tables are never taken back.
# shellcheck disable=SC2329  # step calls its functions by name
set -euo pipefail
umask 022
export PATH="$PATH:/usr/sbin"

slug={{ slug }}
package={{ cookiecutter.package_name }}
domain={{ cookiecutter.domain_name }}
releases=/opt/$slug/releases
current=/opt/$slug/current
etc=/etc/$slug
certificate=$etc/tls/fullchain.pem
site=/etc/nginx/sites-available/$slug.conf
enabled=/etc/nginx/sites-enabled/$slug.conf
static=/var/lib/$slug-static
# Seconds until a release must be ready. Requests wait for it and for the way back, so it is at
# most half of Nginx's proxy_read_timeout.
READY=15

id='' newer=() taken='' dry_run=false self_signed=false
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
doing='' service_changed=false nginx_changed=false switching=false

say() { printf '%s\n' "$*"; }

fail() {
    doing=''
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

step() {  # say what is done, and do it
    if $dry_run; then say "would $1" && return; fi
    doing=$1
    say "$1"
    "${@:2}"
    local status=$?  # not 0 only where the caller asks for it: otherwise this line is not reached
    doing=''
    return "$status"
}

# <% include "install/" ~ cookiecutter.supervisor ~ ".sh" %>
# <% if cookiecutter.wsgi_server == "uwsgi" and cookiecutter.supervisor == "systemd" %>

# <% include "install/emperor.sh" %>
# <% endif %>

read_arguments() {
    while (($#)); do
        case $1 in
            --release) id=${2:?--release wants the ID of a release} && shift ;;
            --dry-run) dry_run=true ;;
            --self-signed) self_signed=true ;;
# <% if cookiecutter.supervisor == "systemd" %>
            --outbound) outbound=true ;;
            --no-outbound) outbound=false ;;
# <% endif %>
            *) fail "unknown argument '$1': the first lines of $tree/deploy/install.sh tell all" ;;
        esac
        shift
    done
}

look_at_the_host() {
    ((EUID == 0)) || fail "only root can install: sudo deploy/install.sh"
    if ! type nginx openssl "${programs[@]}" >/dev/null ||
        ! python3 -B -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'; then
        fail "apt-get install nginx openssl python3-venv$packages (Python 3.11 or later) first"
    fi
    # Which directories of deploy/nginx/ have files in the place of others.
    [[ $(nginx -tg 'http2 on;' 2>&1) == *'unknown directive'* ]] || newer+=(from-nginx-1.25.1)
    [[ $(openssl list -kem-algorithms 2>&1) != *X25519MLKEM768* ]] || newer+=(from-openssl-3.5)
    for port in 80 443; do
        if has_default_server "$port"; then taken+=" $port "; fi
    done
    if $dry_run; then return; fi
    nginx -t -q || fail "Nginx's configuration was wrong before: mend it first"
    exec 9>"/run/lock/$slug-install.lock"
    flock --nonblock 9 || step "wait for another install.sh" flock --wait 600 9
}

has_default_server() {  # PORT: whether another site is it
    nginx -T 2>/dev/null | awk -v own="/snippets/$slug-default-" \
        -v listen="^[^#]*listen[ \t]+([^;#]*:)?$1[ \t][^;#]*default_server" '
        /^# configuration file / { ours = index($0, own) }
        !ours && $0 ~ listen { found = 1 }
        END { exit !found }'
}

git() { command git --no-optional-locks -c safe.directory='*' -C "$tree" "$@"; }

pack() {  # this tree as an archive: what is committed; without Git all but hidden files and data
    if git rev-parse --git-dir &>/dev/null; then
        git archive HEAD
    else
        tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 --mode=u=rwX,go=rX \
            --exclude='./.*' --exclude=__pycache__ --exclude='*.sqlite3*' -c .
    fi
}

find_release() {
    if [[ $tree == "$releases"/* ]]; then id=${id:-${tree##*/}}; fi
    if [[ -n $id ]]; then
        tree=$releases/$id
        [[ $id != */* && -e $tree/.venv/ready ]] || fail "there is no release '$id' in $releases"
    elif git rev-parse --git-dir &>/dev/null; then
        [[ -z $(git status --porcelain -- .) ]] || fail "commit the changes of this tree first (git status)"
        id=$(git rev-parse --short HEAD)
    else
        id=$(pack | sha256sum | cut -c 1-12)
    fi
    release=$releases/$id
    python=$release/.venv/bin/python
    previous=$(readlink "$current" || true)
# <% if cookiecutter.supervisor == "systemd" %>
    outbound_before=$([[ -e $dropin ]] && echo true || echo false)
    outbound=${outbound:-$outbound_before}
# <% endif %>
}

files() {  # RELEASE: which file of its deploy/ belongs where
    local file from directory
    service_files
    echo "nginx/$slug.conf $site"
    for file in "$1/deploy/nginx/$slug"-*.conf; do
        file=${file##*/} from=nginx/$file
        # Nginx refuses a site whose certificate is missing, and a second default server.
        case $file in
            *-tls.conf | *-default-443.conf) [[ -e $certificate ]] || continue ;;&
            *-default-80.conf) [[ $taken != *' 80 '* ]] || continue ;;
            *-default-443.conf) [[ $taken != *' 443 '* ]] || continue ;;
        esac
        for directory in "${newer[@]}"; do
            [[ ! -e $1/deploy/nginx/$directory/$file ]] || from=nginx/$directory/$file
        done
        echo "$from /etc/nginx/snippets/$file"
    done
}

ours() {  # FILE PLACE: the place holds this file as some release has it, for this host or a newer one
    local known name=${1##*/}
    for known in {"$tree","$releases"/*}/deploy/{"$1","nginx/$name",nginx/*/"$name"}; do
        if cmp -s "$known" "$2"; then return; fi
    done
    return 1
}

refuse_what_is_not_ours() {
    local file place home
    while read -r file place; do
        [[ ! -e $place && ! -L $place ]] || ours "$file" "$place" ||
            fail "$place is not as a release has left it: save what you need of it and remove it"
    done < <(files "$tree")
    [[ ! -e $enabled && ! -L $enabled ]] || [[ $(readlink -f "$enabled") == "$site" ]] ||
        fail "$enabled leads elsewhere: remove it"
    [[ -e $static/.manifest.json || -z $(ls -A "$static" 2>/dev/null) ]] ||
        fail "$static is not as \`assets\` has left it: move it away"
    [[ ! -e $current || -L $current ]] || fail "$current is no link to a release: move it away"
    [[ ! -e $certificate ]] || cmp -s <(openssl x509 -noout -pubkey -in "$certificate") \
        <(openssl pkey -pubout -in "$etc/tls/privkey.pem") ||
        fail "$certificate and privkey.pem beside it do not belong together"
    home=$(getent passwd "$slug" | cut -d: -f6) || true
    [[ ${home:-/var/lib/$slug} == "/var/lib/$slug" ]] || fail "the user $slug is somebody else's"
}

new_secret() { (umask 077 && printf '%s%s\n' "$2" "$(openssl rand -hex 32)" >"$1"); }

new_certificate() {
    (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$domain" \
        -addext "subjectAltName=DNS:$domain" -keyout "$etc/tls/privkey.pem" -out "$certificate" 2>/dev/null)
}

prepare_the_host() {  # what outlives a release; what is there is left as it is
    local place secrets=$etc/credentials
    for place in "$releases" "$etc" "/var/lib/$slug-acme"; do
        [[ -d $place ]] || step "create $place" install -d "$place"
    done
    for place in "$secrets" "$etc/tls"; do
        [[ -d $place ]] || step "create $place" install -d -m 0700 "$place"
    done
    [[ -e $etc/$slug.env ]] ||
        step "create $etc/$slug.env" install -m 0644 "$tree/deploy/$slug.env" "$etc/$slug.env"
    [[ -e $secrets/API_TOKENS ]] ||
        step "create $secrets/API_TOKENS with a token for 'me'" new_secret "$secrets/API_TOKENS" me:
    [[ -e $secrets/ADMIN_TOKEN ]] ||
        step "create $secrets/ADMIN_TOKEN for /metrics" new_secret "$secrets/ADMIN_TOKEN" ''
    [[ -e $certificate ]] || ! $self_signed ||
        step "create a self-signed certificate in $etc/tls" new_certificate
    prepare_service
}

build() {  # wheels only, and src/ on the path: nothing is compiled on the host
    rm -rf "$release"
    mkdir "$release"
    pack | tar -C "$release" --no-same-owner --no-same-permissions -x
    python3 -m venv "$release/.venv"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: -r "$release/requirements.txt"
    echo "$release/src" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/src.pth"
    "$python" -m compileall -q "$release/src"
    touch "$release/.venv/ready"
}

built() {  # and for the Python that the host has now
    [[ -e $release/.venv/ready ]] && "$python" -IB -c "import $package" 2>/dev/null
}

ready() {  # SOCKET [SECONDS]: whether the service there says so
    python3 -B -c 'if True:
        # <% if cookiecutter.wsgi_server == "uwsgi" %>
        import socket, struct, sys
        asked = "REQUEST_METHOD GET PATH_INFO /readyz QUERY_STRING _ SERVER_PROTOCOL HTTP/1.0"
        texts = f"{asked} SERVER_NAME localhost SERVER_PORT 80".split()
        request = b"".join(struct.pack("<H", len(text)) + text.encode() for text in texts)
        request = struct.pack("<BHB", 0, len(request), 0) + request
        # <% else %>
        import socket, sys
        request = b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"
        # <% endif %>
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(int(sys.argv[2]))
        client.connect(sys.argv[1])
        client.sendall(request)
        sys.exit(not client.recv(12).endswith(b" 200"))' "$1" "${2:-5}" 2>/dev/null
}

stays() {  # PROCESS SOCKET: whether it is ready for some seconds, and it and its children live on
    local process processes
    processes="$1 $(cat "/proc/$1/task/$1/children")" || return
    for _ in 1 2 3; do
        sleep 1
        ready "$2" || return
    done
    for process in $processes; do
        [[ -d /proc/$process ]] || return
    done
}

judge() {  # ask the release while the other one serves
    verify || fail "the release is not installed: its units are wrong: mend what is told above"
    # <% if cookiecutter.database == "sqlite" %>
    [[ $tree == "$release" ]] || as_service migrate ||
        fail "the release is not installed: its migration failed: the reason stands above"
    # <% endif %>
    as_service check || fail "the release is not installed: it could not start: put right what is told above"
    # What fails only later does so here, on a socket of its own, where no client meets it.
    if ! begin_trial || ! stays "$(trial_process)" "$trial"; then
        fail "the release is not installed: it does not serve. See $trial_log"
    fi
    end_trial
}

put_files() {  # RELEASE
    local file place from=$1
    [[ -d $from ]] || from=$tree  # --dry-run
    while read -r file place; do
        cmp -s "$from/deploy/$file" "$place" && continue
        step "install $place" install -D -m 0644 "$from/deploy/$file" "$place"
        if [[ $place == /etc/nginx/* ]]; then nginx_changed=true; else service_changed=true; fi
    done < <(files "$from")
}

link() { ln -sfn "$1" "$current.new" && mv -T "$current.new" "$current"; }

write_static() {  # RELEASE: as the service's user, beside what the release before has there
    install -d -o "$slug" -g "$slug" "$static"
    runuser -u "$slug" -- env -C / "$1/.venv/bin/python" -m "$package" assets "$static"
}

activate() {  # RELEASE
    put_files "$1"
    [[ $(readlink "$current") == "$1" && -e $static/.manifest.json ]] ||
        step "write static files to $static" write_static "$1"
    [[ $(readlink "$current") == "$1" ]] || step "point $current to ${1##*/}" link "$1"
    register
    if [[ ! -L $enabled ]]; then
        step "link $enabled" ln -s "../sites-available/$slug.conf" "$enabled"
        nginx_changed=true
    fi
    $dry_run || nginx -t -q || fail "Nginx refuses the release's files: mend what it tells above"
    if $service_changed || [[ $(running) != "$1" ]]; then
        step "restart $service" restart || fail "${1##*/} does not become ready: see $log"
        $dry_run || stays "$(process)" "$socket" || fail "${1##*/} does not stay ready: see $log"
    fi
    if $nginx_changed; then step "reload Nginx" reload_nginx; fi
}

finish() {  # whatever ends this script: say so, and take the way back
    local status=$?
    $dry_run || end_trial
    ((status == 0)) || [[ -z $doing ]] || say "install.sh: could not $doing: the reason stands above" >&2
    $switching || exit "$status"
    if [[ -n $previous ]]; then
        say "go back to ${previous##*/}"
# <% if cookiecutter.supervisor == "systemd" %>
        outbound=$outbound_before
# <% endif %>
        (switching=false && activate "$previous") || say "install.sh: that failed too: see $log" >&2
    else
        say "stop $slug: there is no release to go back to"
        disable || true
        rm -f "$enabled" "$current"
        reload_nginx
    fi
}

prune() {  # keep five, the newest in use first
    find "$releases" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' | sort -rn | tail -n +6 |
        while read -r _ old; do step "remove the release $old" rm -rf "${releases:?}/$old"; done
}

main() {
    read_arguments "$@"
    look_at_the_host
    trap finish EXIT
    trap 'exit 1' HUP INT TERM
    find_release
    refuse_what_is_not_ours
    prepare_the_host
    if ! built; then
        [[ $tree != "$release" ]] || fail "the release '$id' is for another Python: install it from its sources"
        step "build the release $id" build
    fi
    [[ $(running) == "$release" ]] || step "try the release $id" judge
    $dry_run || switching=true
    activate "$release"
    switching=false
    if [[ $previous != "$release" ]] && ! $dry_run; then
        # The order of use is that of the times: the one before is among the five.
        if [[ -n $previous ]]; then touch "$previous"; fi
        touch "$release"
        prune
    fi
    [[ ! -L /etc/nginx/sites-enabled/default ]] ||
        say "Nginx's default site is left: it answers for other names on port 80, until it is taken away"
    [[ -e $certificate ]] || say "no $certificate: only port 80 is served; put it there and run this again"
    say "$slug: release $id"
}

main "$@"; exit  # on one line: nothing more is read of a file that changed meanwhile
