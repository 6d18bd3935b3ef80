"""Send GET requests over kept connections for some seconds: used where wrk is not installed.

python bench/load.py CONNECTIONS SECONDS HOST PORT PATH prints the number of responses.
"""

import asyncio
import re
import sys
import time

content_length = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)").search


async def client(host: str, port: int, request: bytes, ends: float) -> int:
    """Return how many responses came on one connection. Raises ValueError when one is not a 200."""
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.monotonic() < ends:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = content_length(head)
        if length is None or not head.startswith(b"HTTP/1.1 200 "):
            raise ValueError(head.decode())
        await reader.readexactly(int(length[1]))
        count += 1
    writer.close()
    return count


async def main(connections: int, seconds: float, host: str, port: int, path: str) -> None:
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    ends = time.monotonic() + seconds
    clients = (client(host, port, request, ends) for _ in range(connections))
    print(sum(await asyncio.gather(*clients)))


if __name__ == "__main__":
    asyncio.run(
        main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
    )
