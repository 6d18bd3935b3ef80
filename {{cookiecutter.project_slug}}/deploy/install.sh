#!/usr/bin/env bash
# <% set slug = cookiecutter.project_slug %>
# Install this tree as a release of {{ slug }}, as root on Debian 12 or 13, or Ubuntu 24.04 or later:
#
#   deploy/install.sh [--release ID] [--dry-run] [--self-signed]{{ ' [--outbound | --no-outbound]' if cookiecutter.supervisor == 'systemd' }}
#
#   --release ID    install the existing release /opt/{{ slug }}/releases/ID; use this to roll back
#   --dry-run       print the steps and change nothing
#   --self-signed   create a certificate for {{ cookiecutter.domain_name }} if none exists
# <% if cookiecutter.supervisor == "systemd" %>
#   --outbound      from now on, allow the service to connect to the network (systemd/outbound.conf)
#   --no-outbound   from now on, deny it again (the default)
# <% endif %>
#
# A second run performs only the steps that are missing. If a step fails, this script rolls back to
# the previous release and exits with a status other than 0. It never reverts a database migration.
# shellcheck disable=SC2329  # functions are called by name, by step()
set -euo pipefail
umask 022
export PATH="$PATH:/usr/sbin"
# With these variables, pip would install somewhere else than in the release.
unset PIP_DRY_RUN PIP_PREFIX PIP_PYTHON PIP_ROOT PIP_TARGET
export PIP_USER=0

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
# Seconds that a release has to become ready. Requests wait for the release and then for the
# rollback, so READY is at most half of Nginx's proxy_read_timeout.
READY=15

id='' version_directories=() ports_with_default_server='' dry_run=false self_signed=false
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
doing='' service_changed=false nginx_changed=false switching=false

say() { printf '%s\n' "$*"; }

fail() {
    doing=''
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

usage() { sed -n '/^# Install/,/^# shellcheck/{/^# shellcheck/d; s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

step() {  # DESCRIPTION COMMAND…: print the description and run the command
    if $dry_run; then say "would $1" && return; fi
    doing=$1
    say "$1"
    "${@:2}"
    local status=$?  # not 0 only if the caller tests the status; otherwise `set -e` exits before
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
            --release) id=${2:?--release requires the ID of a release} && shift ;;
            --dry-run) dry_run=true ;;
            --self-signed) self_signed=true ;;
# <% if cookiecutter.supervisor == "systemd" %>
            --outbound) outbound=true ;;
            --no-outbound) outbound=false ;;
# <% endif %>
            --help | -h) usage && exit ;;
            *) usage >&2 && fail "unknown argument '$1'" ;;
        esac
        shift
    done
}

check_host() {
    ((EUID == 0)) || fail "root privileges are required; run sudo deploy/install.sh"
    if ! type nginx openssl "${programs[@]}" >/dev/null ||
        ! python3 -B -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'; then
        fail "a program is missing or too old; run apt-get install nginx openssl python3-venv$packages (Python 3.11 or later)"
    fi
    # The directories of deploy/nginx/ whose files replace the default ones on this host.
    [[ $(nginx -tg 'http2 on;' 2>&1) == *'unknown directive'* ]] || version_directories+=(from-nginx-1.25.1)
    [[ $(openssl list -kem-algorithms 2>&1) != *X25519MLKEM768* ]] || version_directories+=(from-openssl-3.5)
    for port in 80 443; do
        if has_default_server "$port"; then ports_with_default_server+=" $port "; fi
    done
    if $dry_run; then return; fi
    nginx -t -q || fail "the current Nginx configuration is invalid; fix the errors above and run this again"
    exec 9>"/run/lock/$slug-install.lock"
    flock --nonblock 9 || step "wait for another install.sh" flock --wait 600 9
}

has_default_server() {  # PORT: succeed if another site is the default server of this port
    nginx -T 2>/dev/null | awk -v own="/snippets/$slug-default-" \
        -v listen="^[^#]*listen[ \t]+([^;#]*:)?$1[ \t][^;#]*default_server" '
        /^# configuration file / { managed = index($0, own) }
        !managed && $0 ~ listen { found = 1 }
        END { exit !found }'
}

git() { command git --no-optional-locks -c safe.directory='*' -C "$tree" "$@"; }

pack() {  # write an archive of this tree: the commit, or without Git all files but hidden ones and data
    if git rev-parse --git-dir &>/dev/null; then
        git archive HEAD
    else
        tar -C "$tree" --sort=name --mtime=@0 --owner=0 --group=0 --mode=u=rwX,go=rX \
            --exclude='./.*' --exclude=__pycache__ --exclude='*.sqlite3*' --exclude=./backups -c .
    fi
}

find_release() {
    if [[ $tree == "$releases"/* ]]; then id=${id:-${tree##*/}}; fi
    if [[ -n $id ]]; then
        tree=$releases/$id
        [[ $id != */* && -e $tree/.venv/ready ]] || fail "release '$id' does not exist; see ls $releases"
    elif git rev-parse --git-dir &>/dev/null; then
        changes=$(git status --porcelain -- .)
        [[ -z $changes ]] ||
            fail "this tree has uncommitted changes; commit them, or list files that are not part of it in .gitignore:"$'\n'"$changes"
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

files() {  # RELEASE: print the files of its deploy/ and their target paths
    local file from directory
    service_files "$1"
    echo "nginx/$slug.conf $site"
    for file in "$1/deploy/nginx/$slug"-*.conf; do
        file=${file##*/} from=nginx/$file
        # Nginx rejects a site without its certificate, and a second default server of a port.
        case $file in
            *-tls.conf | *-default-443.conf) [[ -e $certificate ]] || continue ;;&
            *-default-80.conf) [[ $ports_with_default_server != *' 80 '* ]] || continue ;;
            *-default-443.conf) [[ $ports_with_default_server != *' 443 '* ]] || continue ;;
        esac
        for directory in "${version_directories[@]}"; do
            [[ ! -e $1/deploy/nginx/$directory/$file ]] || from=nginx/$directory/$file
        done
        echo "$from /etc/nginx/snippets/$file"
    done
}

is_managed() {  # FILE TARGET: succeed if the target is a copy of the file from any release
    local known name=${1##*/}
    for known in {"$tree","$releases"/*}/deploy/{"$1","nginx/$name",nginx/*/"$name"}; do
        if cmp -s "$known" "$2"; then return; fi
    done
    return 1
}

check_unmanaged_files() {
    local file target advice home
    while read -r file target; do
        if [[ ! -e $target && ! -L $target ]] || is_managed "$file" "$target"; then continue; fi
        # Nginx rejects a configuration that lacks a file, so do not advise to remove one in use.
        advice="back it up, remove it"
        [[ ! -e $current/deploy/$file ]] ||
            advice="make the change in deploy/$file of the project, run install -m 0644 $current/deploy/$file $target"
        fail "$target was not installed by this script, or was modified; $advice, and run this again"
    done < <(files "$tree")
    [[ ! -e $enabled && ! -L $enabled ]] || [[ $(readlink -f "$enabled") == "$site" ]] ||
        fail "$enabled does not link to $site; remove it"
    [[ -e $static/.manifest.json || -z $(ls -A "$static" 2>/dev/null) ]] ||
        fail "$static was not written by collect-static; move it away"
    [[ ! -e $current || -L $current ]] || fail "$current is not a link to a release; move it away"
    [[ ! -e $certificate ]] || cmp -s <(openssl x509 -noout -pubkey -in "$certificate") \
        <(openssl pkey -pubout -in "$etc/tls/privkey.pem") ||
        fail "$certificate does not match the key privkey.pem next to it; install a matching pair"
    home=$(getent passwd "$slug" | cut -d: -f6) || true
    [[ ${home:-/var/lib/$slug} == "/var/lib/$slug" ]] ||
        fail "the user $slug has the home $home, so it is not the service's; rename that user"
}

new_secret() { (umask 077 && printf '%s%s\n' "$2" "$(openssl rand -hex 32)" >"$1"); }

new_certificate() {
    (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj "/CN=$domain" \
        -addext "subjectAltName=DNS:$domain" -keyout "$etc/tls/privkey.pem" -out "$certificate" 2>/dev/null)
}

prepare_host() {  # create everything that all releases share, unless it exists
    local directory secrets=$etc/credentials
    for directory in "$releases" "$etc" "/var/lib/$slug-acme"; do
        [[ -d $directory ]] || step "create $directory" install -d "$directory"
    done
    for directory in "$secrets" "$etc/tls"; do
        [[ -d $directory ]] || step "create $directory" install -d -m 0700 "$directory"
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

build() {  # install wheels and put src/ on the path, so that the host needs no compiler
    rm -rf "$release"
    mkdir "$release"
    pack | tar -C "$release" --no-same-owner --no-same-permissions -x
    python3 -m venv "$release/.venv"
    "$python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: -r "$release/requirements.txt"
    echo "$release/src" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/src.pth"
    "$python" -m compileall -q "$release/src"
    "$python" -m bottle_service.sbom >"$release/sbom.cdx.json"
    build_service
    touch "$release/.venv/ready"
}

is_built() {  # succeed if the release is built for the Python that the host has now
    [[ -e $release/.venv/ready ]] && "$python" -IB -c "import $package" 2>/dev/null
}

is_ready() {  # SOCKET [SECONDS]: succeed if the service there responds to /readyz with 200
    python3 -B -c 'if True:
        # <% if cookiecutter.wsgi_server == "uwsgi" %>
        import socket, struct, sys
        variables = "REQUEST_METHOD GET PATH_INFO /readyz QUERY_STRING _ SERVER_PROTOCOL HTTP/1.0"
        texts = f"{variables} SERVER_NAME localhost SERVER_PORT 80".split()
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

stays_ready() {  # PROCESS SOCKET: succeed if it is ready for 3 s and it and its children still run
    local process processes
    processes="$1 $(cat "/proc/$1/task/$1/children")" || return
    for _ in 1 2 3; do
        sleep 1
        is_ready "$2" || return
    done
    for process in $processes; do
        [[ -d /proc/$process ]] || return
    done
}

try_release() {  # check the release and start it, while the previous one serves
    verify || fail "the release is rejected because its units are invalid; fix the errors above"
    # <% if cookiecutter.database != "none" %>
    [[ $tree == "$release" ]] || as_service migrate --backup ||
        fail "the release is rejected because its migration, or the backup before it, failed; fix the error above"
    # <% endif %>
    as_service check || fail "the release is rejected because its check failed; fix the problems above"
    # Some releases fail only after their start: start it on a private socket that no client uses.
    if ! begin_trial || ! stays_ready "$(trial_process)" "$trial"; then
        fail "the release is rejected because its trial start failed; see $trial_log"
    fi
    end_trial
}

put_files() {  # RELEASE
    local file target from=$1
    [[ -d $from ]] || from=$tree  # --dry-run
    while read -r file target; do
        cmp -s "$from/deploy/$file" "$target" && continue
        step "install $target" install -D -m 0644 "$from/deploy/$file" "$target"
        if [[ $target == /etc/nginx/* ]]; then nginx_changed=true; else service_changed=true; fi
    done < <(files "$from")
}

link() { ln -sfn "$1" "$current.new" && mv -T "$current.new" "$current"; }

write_static() {  # RELEASE: as the service's user; the files of the previous release stay
    local collect=collect-static
    # Releases of template version 0.2 and older know this command as `assets`.
    [[ -d $1/src/bottle_service ]] || collect=assets
    install -d -o "$slug" -g "$slug" "$static"
    runuser -u "$slug" -- env -C / "$1/.venv/bin/python" -m "$package" "$collect" "$static"
}

activate() {  # RELEASE
    put_files "$1"
    [[ $(readlink "$current") == "$1" && -e $static/.manifest.json ]] ||
        step "write static files to $static" write_static "$1"
    [[ $(readlink "$current") == "$1" ]] || step "point $current to ${1##*/}" link "$1"
    register "$1"
    if [[ ! -L $enabled ]]; then
        step "link $enabled" ln -s "../sites-available/$slug.conf" "$enabled"
        nginx_changed=true
    fi
    $dry_run || nginx -t -q || fail "Nginx rejects the files of the release; fix the errors above"
    if $service_changed || [[ $(running) != "$1" ]]; then
        step "restart $service" restart || fail "${1##*/} did not become ready; see $log"
        $dry_run || stays_ready "$(process)" "$socket" || fail "${1##*/} did not stay ready; see $log"
    fi
    if $nginx_changed; then step "reload Nginx" reload_nginx; fi
}

on_exit() {  # report the step that failed, and roll back if the switch has begun
    local status=$?
    $dry_run || end_trial
    ((status == 0)) || [[ -z $doing ]] || say "install.sh: could not $doing; see the error above" >&2
    $switching || exit "$status"
    if [[ -n $previous ]]; then
        say "roll back to ${previous##*/}"
# <% if cookiecutter.supervisor == "systemd" %>
        outbound=$outbound_before
# <% endif %>
        (switching=false && activate "$previous") || say "install.sh: the rollback failed, too; see $log" >&2
    else
        say "stop $slug, because there is no previous release to roll back to"
        disable || true
        rm -f "$enabled" "$current"
        reload_nginx
    fi
}

prune() {  # keep the five most recently used releases
    find "$releases" -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' | sort -rn | tail -n +6 |
        while read -r _ old; do step "remove the release $old" rm -rf "${releases:?}/$old"; done
}

main() {
    read_arguments "$@"
    check_host
    trap on_exit EXIT
    trap 'exit 1' HUP INT TERM
    find_release
    check_unmanaged_files
    prepare_host
    if ! is_built; then
        [[ $tree != "$release" ]] || fail "release '$id' was built for another Python; install it from its sources"
        step "build the release $id" build
    fi
    [[ $(running) == "$release" ]] || step "try the release $id" try_release
    $dry_run || switching=true
    activate "$release"
    switching=false
    if [[ $previous != "$release" ]] && ! $dry_run; then
        # prune() and the operator order releases by these times; equal ones would have no order.
        if [[ -n $previous ]]; then touch -d '1 second ago' "$previous"; fi
        touch "$release"
        prune
    fi
    [[ ! -L /etc/nginx/sites-enabled/default ]] ||
        say "Nginx's default site serves all other host names on port 80; remove it to reject them"
    [[ -e $certificate ]] || say "$certificate is missing, so only port 80 is served; add it and run this again"
    if $dry_run; then
        say "nothing was changed; without --dry-run, this installs release $id"
    else
        say "$slug: release $id"
    fi
}

main "$@"; exit  # on the same line, so that Bash does not read on if this file has changed
