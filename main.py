"""Runs `mcpuppet` from a checkout: `python main.py demo`."""

from mcpuppet.cli import main

if __name__ == "__main__":
    main()
