"""Everything that knows mitmproxy: the adapter between its flows and the gateway in `cliproxy/`."""
