"""Compliance reports: what a session or a period shows, in words and figures, for five formats."""
