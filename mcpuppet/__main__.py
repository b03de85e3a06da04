"""`python -m mcpuppet`."""

from mcpuppet.cli import main

if __name__ == "__main__":
    main()
