"""Connect to the service's unix socket; fail if that is denied."""

import socket

socket.socket(socket.AF_UNIX).connect("/run/my-service.sock")
