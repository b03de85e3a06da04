"""MCPuppet: a governance gateway between AI applications and their MCP tools."""

__version__ = "0.1.0"
