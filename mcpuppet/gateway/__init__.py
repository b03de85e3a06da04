"""Where MCP is spoken: the server towards the application, the clients towards the servers."""
