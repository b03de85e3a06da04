"""Real MCP servers with state, and a scripted client, that show MCPuppet at work."""
