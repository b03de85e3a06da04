"""What is allowed: workflow text in, compiled workflow out. Pure; no I/O but reading files."""
