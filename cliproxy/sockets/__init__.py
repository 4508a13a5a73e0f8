"""WebSockets that clients open: which may be opened, and what goes on over each kind."""
