"""Words of hostile requests: values that parsers often handle wrongly."""

MARKER = "s3cr3tmarker"  # in the place of secrets, so it must never be logged
TOKEN = "t" * 32
LIMIT = 20_000  # MAX_BODY_BYTES

# fmt: off
# Values that parsers often handle wrongly. Bytes are characters here: environ strings are Latin-1 (PEP 3333).
ATOMS = [
    "", " ", "\t", "\0", "\r", "\n", "\r\n", "\x0b", "\x7f", "\xc2\x85", "\xff", "\xc3\xa9",
    "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xd9\xa3", "\xf0\x9f\x99\x82", "%", "%00", "%0a", "%ff",
    "%2e%2e%2f", "%25ff", "%u0041", "/", "//", "..", "../../etc/passwd", "\\", "[", "]", "{", "}",
    "{{7*7}}", "${x}", "<script>", "&", "&amp;", "=", ";", ",", ":", "?", "#", "@", "*", "~", "|",
    '"', "'", "`", "(", ")", "+", "-1", "-0", "0", "1e400", "9" * 19, "9" * 400, "0x1", "1_0", "nan",
    "None", "true", "http://[", "http://[::1]/", "//evil.example/", "javascript:", "a" * 300,
    "a" * 5000,
]
METHODS = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "", "get", "ANY", "PROXY", "TRACE",
    "CONNECT", "M-SEARCH", "G\xc3\x89T", "A" * 1000, "G T", "\0",
]
FIELDS = ["limit", "after", "name", "name", "count", "ratio", "when", "tags", "tags", "inner", MARKER]
VALUES = ["1", "7", "x", "x", MARKER]
COOKIES = [
    f"session={MARKER}", "b/c=2", "b@c=2", "a=1; $x=2", "a(b)=2;;; =; c",
    'a="q"; b="open', "$Version=1",
    "a=caf\xe9", "a=caf\xc3\xa9", "a=\x01", "path=/; a=1", "a=1; secure; httponly=1",
    'a="\\303\\244"',
    "expires=x; a=1", "a=" + "b" * 5000, "; " * 500, "a,b=1", "=", "a==b", "a=1, b=2",
    "__proto__=1",
]
HEADERS: dict[str, list[str]] = {
    "HTTP_ACCEPT": ["*/*", "text/html", "text/html;q=0", "text/html, */*;q=0.1",
    "application/json"],
    "HTTP_ACCEPT_LANGUAGE": ["de", "*;q=abc"],
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD": ["PUT", "x\xff"],
    "HTTP_EXPECT": ["100-continue", "200-ok"],
    "HTTP_FORWARDED": [f"for={MARKER};proto=https", 'for="[', "by=;;"],
    "HTTP_HOST": ["localhost", "", "[", "[::1]:80", "evil.example:99999", "a b", "caf\xe9", "a,b"],
    "HTTP_IDEMPOTENCY_KEY": ["x", '"x"', '"x', '"\\\\"', '"x", "y"', "\xff", "", "k" * 5000, MARKER],
    "HTTP_IF_MATCH": ["*", '"x"', 'W/"x", "1"', "x", '"', "\xff", "," * 500, '"\xff"'],
    "HTTP_IF_MODIFIED_SINCE": [
        "Thu, 01 Jan 1970 00:00:00 GMT", "Sat, 01 Jan 2050 00:00:00 GMT", "0", "Thu, 01",
        "x; length=5",
        "Thu, 99 Jan 9999 99:99:99 +9999", "Thu, 01 Jan 0000 00:00:00 GMT", "- - - - -",
        "1 1 1 1:1",
    ],
    "HTTP_IF_NONE_MATCH": ["*", '"x"', 'W/"x", "y"', "x", '"'],
    "HTTP_IF_RANGE": ['"x"', "Thu, 01 Jan 1970 00:00:00 GMT", ""],
    "HTTP_ORIGIN": ["null", "https://app.example.com", "https://evil.example", "x\r\ny: z"],
    "HTTP_RANGE": [
        "bytes=0-0", "bytes=-1", "bytes=5-", "bytes=9-1", "bytes=0-0,2-3", "bytes=", "items=0-1",
        "bytes=" + "9" * 5000 + "-", "bytes=a-b", "bytes=-0", "bytes=99999-", "bytes=\xb2-\xb3",
    ],
    "HTTP_REFERER": [f"https://x/?token={MARKER}", "\xff"],
    "HTTP_UPGRADE": ["h2c", "websocket"],
    "HTTP_USER_AGENT": ["curl", "\xff\xfe", 'q"\\', "a" * 5000, "x\ny", "{}"],
    "HTTP_X_FORWARDED_FOR": ["6.6.6.6", "6.6.6.6, 7.7.7.7", "::1", "fe80::1%\xff", ",", "x",
    "1" * 500],
    "HTTP_X_FORWARDED_HOST": ["evil.example", "["],
    "HTTP_X_FORWARDED_PROTO": ["https", "http, https", "javascript"],
    "HTTP_X_HTTP_METHOD_OVERRIDE": ["DELETE"],
    "HTTP_X_REQUEST_ID": ["a-harmless-id", "short", "caf\xe9-caf\xe9", "x\r\ny: z", "x" * 65],
    "HTTP_": ["x"],
}
JSON = "application/json"
JSONS = [
    JSON, JSON, JSON, JSON, f"{JSON}; charset=utf-8", f"{JSON} ; charset", f"{JSON}; charset=utf-7",
    "application/problem+json", "Application/JSON", "text/plain", "", "text/html", "*/*",
]
URLENCODED = "application/x-www-form-urlencoded"
FORMS = [
    URLENCODED, URLENCODED, URLENCODED, f"{URLENCODED}; charset=nonsense",
    f"{URLENCODED}; charset=utf-7",
    f"{URLENCODED}; charset=hex", f"{URLENCODED}; charset=unicode_escape", f"{URLENCODED}; charset",
]
MULTIPART = "multipart/form-data; boundary=b"
MULTIPARTS = [
    MULTIPART, MULTIPART, MULTIPART, "multipart/form-data", "multipart/form-data; boundary=",
    f"{MULTIPART}; charset=utf-7", f"{MULTIPART}; charset=hex", 'multipart/form-data; boundary="b',
    "multipart/form-data; boundary=\xff", f"multipart/form-data; boundary={'b' * 500}",
    "multipart/mixed; boundary=b",
]
GOOD = [
    (JSON, b'{"title": "x"}'), (JSON, b'{"title": "x", "body": "y"}'), (JSON, b'{"name": "x"}'),
    (URLENCODED, b"name=x&count=7"),
    (MULTIPART, b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n'),
]
LENGTHS = ["", "abc", "-1", "+1", "1_0", "\xb2", "\xd9\xa3", "9" * 15, "9" * 16, "9" * 5000,
"1, 1", " 1"]
LEAVES = [
    b"null", b"true", b"0", b"-0", b"1", b"7", b"1.5", b"1e400", b"-1e400", b"NaN", b"Infinity",
    b"9" * 19, b"9" * 30, b"9" * 5000, b"1e308", b"01", b'""', b'"x"', b'"caf\xc3\xa9"',
    b'"\\ud800"',
    b'"\\ud83d\\ude42"', b'"\\u0000"', b'"\x00"', b'"\xff"', b'"\n"', b'"\\x"', b'"', b"'x'", b"[]",
    b"{}", b"2020-01-01", b'"2020-01-01T00:00:00Z"', b'"9999-12-31T23:59:59-23:59"',
    b'"%s"' % MARKER.encode(), b'"' + b"a" * 300 + b'"', b'"' + b"a" * 12_000 + b'"',
    b"\xef\xbb\xbf1",
]
KEYS = [
    b'"title"', b'"title"', b'"body"', b'"name"', b'"name"', b'"count"', b'"ratio"', b'"when"',
    b'"tags"',
    b'"inner"', b'"number"', b'""', b'"a/b~c"', b'"\\ud800"', b'"\xff"', b"title", b"1",
]
PARTS = [
    b'Content-Disposition: form-data; name="name"', b'Content-Disposition: form-data; name="count"',
    b'Content-Disposition: form-data; name="photo"; filename="a.txt"',
    b'Content-Disposition: form-data; name="photo"; filename="../\xff"',
    b"Content-Disposition: form-data; name=name", b"Content-Disposition: form-data",
    b"Content-Length: abc",
    b'Content-Disposition: attachment; name="name"', b"Content-Type: text/plain; charset=nonsense",
    b"Content-Type: text/plain; charset=utf-7", b"Content-Type: text/plain; charset=hex",
    b"X: \x00\r", b" x",
    b"Content-Type: ;;;=", b'Content-Disposition: form-data; name="\xff"', b"x" * 5000, b": ", b"",
]
# fmt: on
