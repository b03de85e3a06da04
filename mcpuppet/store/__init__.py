"""Where sessions live: the `Store` protocol and its embedded SQLite implementation."""
