"""What happens: a session's state and an event in, the next state out. Pure."""
