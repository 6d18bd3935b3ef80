"""Send a request to the service's socket whose body arrives after four seconds."""

import socket
import time

connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/my-service.sock")
connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
time.sleep(4)
connection.sendall(b"hello")
