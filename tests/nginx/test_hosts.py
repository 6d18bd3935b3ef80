"""Names, TLS, HTTP/2, and the redirects of port 80."""

import json
import ssl
import subprocess

import pytest

from ..support.fixtures import Needs
from ..support.http_client import DOMAIN, HEADERS
from ..support.matrix import NEWER_NGINX, WITHOUT_DATABASE
from ..support.nginx_stack import NginxStack

# Nginx handles this alone, so two stacks are enough.
STACKS = [*WITHOUT_DATABASE, NEWER_NGINX][::3]


def curl(stack: NginxStack, *arguments: str) -> str:
    """Return the output of curl for a request over HTTP/2."""
    site = ["--resolve", f"{DOMAIN}:{stack.https}:127.0.0.1", "--cacert", str(stack.certificate)]
    return subprocess.run(
        ["curl", "--silent", "--http2", *site, *arguments],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_http2_is_negotiated(stack: NginxStack, needs: Needs) -> None:
    needs("curl")
    url = f"https://{DOMAIN}:{stack.https}"
    head = curl(stack, "--include", f"{url}/livez")
    assert head.startswith("HTTP/2 200 ")
    for name in HEADERS:
        assert head.count(f"\n{name.lower()}: ") == 1
    forged = ["-H", "X-Forwarded-For: 6.6.6.6", "-H", "X-Forwarded-Proto: http"]
    seen = json.loads(curl(stack, *forged, f"{url}/echo"))
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"]) == ("127.0.0.1", "https")
    tls = stack.tls()
    tls.set_alpn_protocols(["h2", "http/1.1"])
    with stack.connect(tls=tls) as channel:
        assert channel.selected_alpn_protocol() == "h2"


def test_unknown_name_gets_no_tls_handshake(stack: NginxStack) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    for name in ("evil.example", f"a.{DOMAIN}", "127.0.0.1"):
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            stack.connect(tls=tls, name=name)


def test_host_other_than_tls_name_is_421(stack: NginxStack, needs: Needs) -> None:
    stack.get("/livez", Host="evil.example").check_problem(421)
    needs("curl")
    url = f"https://{DOMAIN}:{stack.https}/livez"
    output = curl(stack, "--include", "-H", "Host: evil.example", url)
    assert output.startswith("HTTP/2 421 ")
    assert json.loads(output.splitlines()[-1])["status"] == 421


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1"])
def test_unknown_host_on_port_80_is_reset(stack: NginxStack, host: str) -> None:
    with pytest.raises(ConnectionResetError):
        assert stack.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), plain=True)


def test_plain_http_redirects(stack: NginxStack) -> None:
    head = f"Host: {DOMAIN.upper()}:81\r\nConnection: close\r\n\r\n"
    response = stack.raw(f"GET /a?b=%2f HTTP/1.1\r\n{head}".encode(), plain=True)
    stack.wait_until_logged('"url.path":"/a"', "my-service.log")
    assert response.startswith(b"HTTP/1.1 308 ")
    assert f"\r\nLocation: https://{DOMAIN}/a?b=%2f\r\n".encode() in response
    for name in HEADERS:
        assert response.count(f"\r\n{name}: ".encode()) == (name != "Strict-Transport-Security")
    for method in ("POST", "DELETE", "OPTIONS"):
        response = stack.raw(f"{method} /a HTTP/1.1\r\n{head}".encode(), plain=True)
        assert response.startswith(b"HTTP/1.1 403 ")
        assert json.loads(response.partition(b"\r\n\r\n")[2])["status"] == 403


def test_plain_http_on_tls_port_is_400(stack: NginxStack) -> None:
    with stack.plain(stack.https) as channel:
        channel.sendall(f"GET / HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n".encode())
        response = channel.recv(65536)
    assert response.startswith(b"HTTP/1.1 400 ")
    assert json.loads(response.partition(b"\r\n\r\n")[2])["status"] == 400


def test_acme_challenge_is_served(stack: NginxStack) -> None:
    challenge = stack.directory / "acme" / ".well-known" / "acme-challenge"
    challenge.mkdir(parents=True)
    (challenge / "token").write_text("proof")
    path = "/.well-known/acme-challenge/token"
    head = f"GET {path} HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n"
    assert stack.raw(head.encode(), plain=True).endswith(b"\r\n\r\nproof")
    refused = stack.raw(head.replace("GET", "PUT").encode(), plain=True)
    assert refused.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: GET, HEAD\r\n" in refused


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_version_is_accepted(stack: NginxStack, version: str) -> None:
    tls = stack.tls()
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion[version]
    with stack.connect(tls=tls) as channel:
        assert channel.version() == version.replace("_", ".")


def test_old_tls_and_ciphers_are_rejected(stack: NginxStack) -> None:
    tls = stack.tls()
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        stack.connect(tls=tls)
    for cipher in ("ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256", "AES128-GCM-SHA256"):
        tls = stack.tls()
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers(cipher)
        with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
            stack.connect(tls=tls)


def test_client_chooses_the_cipher(stack: NginxStack) -> None:
    """A client without hardware for AES prefers ChaCha20."""
    for cipher in ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
        tls = stack.tls()
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers(f"{cipher}:ECDHE-RSA-AES128-GCM-SHA256")
        with stack.connect(tls=tls) as channel:
            assert channel.cipher() == (cipher, "TLSv1.2", 256)


@pytest.mark.parametrize(
    ("curve", "known"),
    [("X25519", True), ("prime256v1", True), ("secp384r1", True), ("secp521r1", False)],
)
def test_curve_is_accepted_or_rejected(stack: NginxStack, curve: str, known: bool) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{stack.https}", "-groups", curve]
    done = subprocess.run(
        [*command, "-servername", DOMAIN], input="", check=False, capture_output=True, text=True
    )
    assert (done.returncode == 0) == known


def test_nginx_version_is_hidden(stack: NginxStack) -> None:
    end = "Connection: close\r\n\r\n"
    head = f"GET / HTTP/1.1\r\nHost: {DOMAIN}\r\n{end}".encode()
    inside = f"GET / HTTP/1.1\r\nHost: localhost\r\n{end}".encode()
    with stack.plain(stack.internal) as channel:
        channel.sendall(inside)
        received = [channel.recv(65536)]
    received += [stack.raw(head), stack.raw(head, plain=True)]
    received += [stack.raw(b"GET / HTTP/1.1\r\n\r\n", plain=plain) for plain in (False, True)]
    for response in received:
        assert b"\r\nServer: nginx\r\n" in response
    # A request without a Host gets a problem document, too, with TLS and without.
    for response in received[3:]:
        assert response.count(b"\r\nX-Request-ID: ") == 1
        assert json.loads(response.partition(b"\r\n\r\n")[2])["status"] == 400


def test_tls_session_is_resumed(stack: NginxStack) -> None:
    tls = stack.tls()
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with stack.connect(tls=tls) as first:
        session = first.session
    assert session
    assert not session.has_ticket
    with tls.wrap_socket(
        stack.plain(stack.https), server_hostname=DOMAIN, session=session
    ) as second:
        assert second.session_reused
