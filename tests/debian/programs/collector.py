"""Web server and DNS server on 10.89.0.1; the DNS server answers 10.89.0.1 for each name (RFC 1035)."""

import http.server
import socket
import threading

site = http.server.ThreadingHTTPServer(("10.89.0.1", 8000), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=site.serve_forever, daemon=True).start()
names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("10.89.0.1", 53))
while True:
    query, client = names.recvfrom(512)
    end = query.index(0, 12) + 5
    address = query[end - 4 : end - 2] == bytes([0, 1])
    head = query[:2] + bytes([0x81, 0x80, 0, 1, 0, address, 0, 0, 0, 0]) + query[12:end]
    record = bytes([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 89, 0, 1])
    names.sendto(head + record * address, client)
