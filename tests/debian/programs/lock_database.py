"""Hold the write lock of the database for four seconds."""

import sqlite3
import time

database = sqlite3.connect("/var/lib/my-service/db.sqlite3", isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
time.sleep(4)
