"""Hostile bytes for a server's socket, from a seed; each conversation is of one kind."""

import random
from dataclasses import dataclass

from .words import LIMIT, MARKER, TOKEN

SECRET = MARKER.encode()
END = b"\r\n"
GET = b"GET /livez HTTP/1.1"
HOST = b"Host: a"
BODY = b'{"title": "x"}'
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b'6\r\n{"titl\r\n8\r\ne": "x"}\r\n0\r\n\r\n'
LAST = b"GET /livez?last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def get(*lines: bytes, line: bytes = GET) -> bytes:
    return END.join([line, *lines, b"", b""])


def post(*lines: bytes, body: bytes = BODY, version: bytes = b"1.1") -> bytes:
    head = [
        b"POST /api/v1/notes HTTP/" + version,
        HOST,
        b"Authorization: Bearer " + TOKEN.encode(),
        b"Content-Type: application/json",
    ]
    return END.join([*head, *lines, b"", body])


def _lines(*lines: bytes) -> list[bytes]:
    return [get(HOST, line=line) for line in lines]


def _heads(*lines: bytes) -> list[bytes]:
    return [get(HOST, line) for line in lines]


def _targets(*targets: bytes) -> list[bytes]:
    return _lines(*(b"GET " + target + b" HTTP/1.1" for target in targets))


def _lengths(*values: bytes) -> list[bytes]:
    return [post(b"Content-Length: " + value) for value in values]


def _codings(*values: bytes) -> list[bytes]:
    return [post(b"Transfer-Encoding: " + value, body=CHUNKS) for value in values]


def _chunks(*bodies: bytes) -> list[bytes]:
    return [post(CHUNKED, body=body) for body in bodies]


LENGTH = b"Content-Length: %d" % len(BODY)
KINDS: dict[str, list[bytes]] = {
    "nothing wrong": [
        *(get(HOST, line=method + GET[3:]) for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE")),
        *(get(HOST, line=GET.replace(b"livez", path)) for path in (b"", b"static/app.css", b"x")),
        get(HOST, b"Accept: text/html", line=b"GET /nothing HTTP/1.1"),
        get(HOST, b"Range: bytes=0-3", line=b"GET /static/app.css HTTP/1.1"),
        get(line=b"GET /livez HTTP/1.0"),
        get(b"Connection: keep-alive", line=b"GET /livez HTTP/1.0"),
        post(LENGTH),
        post(CHUNKED, body=CHUNKS),
    ],
    "request line": _lines(
        b"GET", b"GET /livez", b"GET  /livez HTTP/1.1", GET + b" ", b" " + GET,
        b"get /livez HTTP/1.1",
        b"G\0T /livez HTTP/1.1", b"G(T /livez HTTP/1.1", b"/livez GET HTTP/1.1",
        b"A" * 30 + b" / HTTP/1.1",
        b"GET /livez?x=" + SECRET + b" y HTTP/1.1", b"GET\t/livez\tHTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\xfc",
        b'{"password": "' + SECRET + b'"} x', b'{"a":"' + SECRET + b'"} x y', b"", b"\xff", b"\0",
        b"GET /livez\rHTTP/1.1", b"GET /livez HTTP/1.1\rX: a",
    ),
    "version": _lines(
        *(b"GET /livez?" + SECRET + b" " + version for version in (
            b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1", b"HTTP/11.1", b"http/1.1", b"HTTP/0.9",
            b"HTTP/9.9", b"XTTP/1.1",
        )),
    ),
    "HTTP/2 preface": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"],
    "target": _targets(
        b"*", b"http://[", b"http://[::1", b"http://[" + SECRET + b"]/", b"http://a/livez",
        b"http://a:x/livez",
        b"http:///livez", b"ftp://a/livez", b"http://a", b"//evil.example/", b"//livez",
        b"///livez", b"a:80",
        b"livez", b"/livez#" + SECRET, b"/livez?" + SECRET, b"/%", b"/%f", b"/%ff", b"/%00",
        b"/%0a", b"/livez%0d%0a",
        b"/static/..%2f..%2fapp.py", b"/static/../../app.py", b"/static/%2e%2e/app.py", b"/\\..\\",
        b"/\xff",
        b"/livez?" + SECRET + b"\x01", b"/livez?\xff", b"//x?\xff", b"/\xc3\xa9", b"/%c3%a9",
        b"/%ed%a0%80", b"/[",
        b"http://a\xff/", b"http://a@b/livez", b"/" + b"a" * 8000, b"/" + b"a" * 9000,
        b"/" + b"a" * 70_000,
        b"/" + b"a" * 300_000,
    ),
    "method and target": _lines(b"OPTIONS * HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"CONNECT /livez HTTP/1.1", b"TRACE /livez HTTP/1.1"),
    "host": [
        get(), get(b"Host: a", b"Host: b"), get(b"Host:"), get(b"Host: a b"), get(b"Host: a,b"),
        get(b"Host: ["),
        get(b"Host: \xff"), get(b"Host: a", b"host: a"), get(b"Host: a/b?" + SECRET),
        get(line=b"GET http://a/livez HTTP/1.1"),
    ],
    "folding": _heads(b"X: a\r\n b", b"X: a\r\n\tb", b"X: a\r\n "),
    "folding of the first line": [get(b" X: a", HOST), get(b"\tHost: a")],
    "header name": _heads(
        b"X Y: a", b"X : a", b": a", b"X", b"X_Y: a", b"\xff: a", b"X\0: a", b"(: a",
        b"Content_Length: 5", b"\x01: a",
        b"Authorization Bearer " + SECRET, b"Script_Name: /x", b"SCRIPT-NAME: /x",
        b"Path-Info: /x", b"Wsgi.input: x",
    ),
    "header value": _heads(
        b"X: \0", b"X: a\rb", b"X: a\nY: b", b"X: \x7f", b"X: \x01" + SECRET,
        b"Cookie: \xff=" + SECRET, b"Content-Type: \xff",
        b"X: " + b"a" * 8000, b"X: " + b"a" * 9000, b"X: " + b"a" * 100_000,
        b"X: " + b"a" * 300_000,
        *(END.join([b"X: a"] * times) for times in (90, 101, 1000)),
        b"Accept: " + b"text/html;q=0." + b"0" * 7000,
        b"User-Agent: \xff\xfe", b"X-Request-ID: a\xff-longer-id", b"Cookie: b/c=2; a=" + SECRET,
        b"Connection: x",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    ),
    "line ends": [
        get(HOST).replace(END, b"\n"), get(HOST).replace(END, b"\r"), END + get(HOST),
        END + END + get(HOST),
        b"\n" + get(HOST), b"\0" + get(HOST), get(HOST).replace(END, b"\r\r\n"),
        get(b"Host: a\nX: b"), GET + b"\n\n",
    ],
    "length": _lengths(
        b"abc", b"-1", b"+14", b"14, 14", b"14\r\nContent-Length: 14", b"14\r\nContent-Length: 15",
        b"", b"\xb2", b"0x5",
        b"1 4", b"14 ", b"9" * 20, b"9" * 5000, b"00014", b"%d" % (LIMIT + 1),
        b"%d" % (2 * LIMIT + 1), b"5", b"0",
    ),
    "transfer coding": _codings(
        b"Chunked", b"gzip, chunked", b"gzip", b"identity", b"x" + SECRET, b"chunked;q=1",
        b"\x0bchunked", b"", b", chunked",
        b"chunked, chunked", b"chunked\r\nTransfer-Encoding: chunked", b"chunked,", b'"chunked"',
        b"chunked, identity",
    ),
    "transfer coding in HTTP/1.0": [
        post(CHUNKED, body=CHUNKS, version=b"1.0"),
        post(CHUNKED, b"Connection: keep-alive", body=CHUNKS, version=b"1.0"),
    ],
    "length and coding": [
        post(LENGTH, CHUNKED, body=CHUNKS), post(CHUNKED, b"Content-Length: 0", body=CHUNKS),
        post(CHUNKED, b"Content-Length: x", body=CHUNKS), post(LENGTH, CHUNKED, version=b"1.0"),
    ],
    "chunks": _chunks(
        *(size + b"\r\n" + BODY + b"\r\n0\r\n\r\n" for size in (
            b"g", b"-e", b"+e", b"0xe", b"e;x",
            b'e;x="' + SECRET, b"e ", b" e", b"", b"e\0", b"000e", b"E", b"d", b"f",
            b"F" * 17, b"e;" + b"a" * 9000, b"e;a\rb", b"e;=",
        )),
        CHUNKS.replace(END, b"\n"), CHUNKS[:-2] + b"X: a\r\n\r\n",
        CHUNKS[:-2] + b"Content-Length: 5\r\n\r\n",
        CHUNKS[:-2] + b"Host: x\r\n\r\n", CHUNKS[:-2] + b"bad " + SECRET + b"\r\n\r\n",
        CHUNKS[:-2] + b"X: a\r\n" * 5000 + END,
        b"%x\r\n" % (LIMIT + 1) + b"x" * (LIMIT + 1) + b"\r\n0\r\n\r\n",
        b"%x\r\n" % (3 * LIMIT) + b"x" * 3 * LIMIT + CHUNKS,
    ),
    "expect": [
        post(b"Expect: 100-continue", LENGTH), post(b"Expect: " + SECRET, LENGTH),
        post(b"Expect: 100-continue, x", LENGTH),
        post(b"Expect: 100-CONTINUE", CHUNKED, body=CHUNKS),
        post(b"Expect: 100-continue", LENGTH, version=b"1.0"),
        get(HOST, b"Expect: 100-continue"),
    ],
}  # fmt: skip
WHOLE = [
    post(LENGTH),
    post(CHUNKED, body=CHUNKS),
    get(HOST, b"X: y"),
    post(b"Content-Length: 9999"),
]


@dataclass(frozen=True)
class Conversation:
    """Bytes of a client, in pieces; `how` is its end: "read" to the end, "cut" short or "reset"."""

    kind: str
    pieces: tuple[bytes, ...]
    how: str = "read"

    @property
    def sent(self) -> bytes:
        return b"".join(self.pieces)


def _mutated(data: bytes, chance: random.Random) -> bytes:
    bad = [b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\xff", b"%", b"/", b"?", b"0", b""]
    for _ in range(chance.choice([1, 1, 2, 5])):
        place = chance.randrange(len(data) + 1)
        data = data[:place] + chance.choice(bad) + data[place + chance.choice([0, 0, 1, 5]) :]
    return data


def _pieces(data: bytes, chance: random.Random) -> tuple[bytes, ...]:
    if chance.random() < 0.7:
        return (data,)
    middle = chance.randrange(len(data) + 1)
    return data[:middle], data[middle:]


def conversations(seed: str, count: int) -> list[Conversation]:
    """Return one conversation of each sort, and a number of random ones.

    Each conversation that is read to the end requests the close of its connection.
    """
    chance = random.Random(seed)  # noqa: S311
    every = [(kind, data) for kind, sorts in KINDS.items() for data in sorts]
    made = [Conversation(kind, (data + LAST,)) for kind, data in every]
    for number in range(count):
        if number % 20 < 2:
            data = chance.choice(WHOLE).replace(HOST, HOST + b"\r\nX-Request-ID: reset-0000", 1)
            cut = data[: -chance.randrange(1, chance.choice([20, len(data)]))]
            made.append(Conversation("cut", _pieces(cut, chance), ("cut", "reset")[number % 20]))
            continue
        kind = chance.choice(list(KINDS))
        data = chance.choice(KINDS[kind])
        if chance.random() < 0.25:
            # Out of place a secret may become part of a path, which is logged.
            kind, data = "mutated", _mutated(data.replace(SECRET, b"q"), chance)
        if chance.random() < 0.3:
            data = data.replace(HOST, HOST + b"\r\nCookie: a=" + SECRET + b"\r\nAccept: text/html")
        if chance.random() < 0.2:
            data = get(HOST) * chance.choice([1, 2]) + data
        made.append(Conversation(kind, _pieces(data + LAST, chance)))
    return made
