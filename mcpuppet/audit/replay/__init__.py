"""Replay: every recorded decision is made again from the recorded texts, and compared."""
