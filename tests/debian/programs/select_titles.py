"""Print the titles of the notes that match a LIKE pattern, as JSON."""

import json
import sqlite3
import sys

database = sqlite3.connect("/var/lib/my-service/db.sqlite3")
rows = database.execute("SELECT title FROM notes WHERE title LIKE ?", sys.argv[1:])
print(json.dumps([title for (title,) in rows]))
