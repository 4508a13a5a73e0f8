"""Unmodified tools: which hosts of vendors are intercepted, and what a tool needs in its environment for that."""
