"""Send a request without TLS: ADDRESS METHOD PATH HOST. Print its status, Location and body."""

import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], timeout=10)
connection.request(sys.argv[2], sys.argv[3], headers={"Host": sys.argv[4]})
response = connection.getresponse()
print(response.status, response.getheader("Location"), response.read().decode())
