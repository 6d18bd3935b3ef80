"""Send a request to the service's socket, create /run/slow, and send the body four seconds later."""

import socket
import time
from pathlib import Path

connection = socket.socket(socket.AF_UNIX)
connection.connect("/run/my-service.sock")
connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
Path("/run/slow").touch()
time.sleep(4)
connection.sendall(b"hello")
