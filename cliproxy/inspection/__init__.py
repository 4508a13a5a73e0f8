"""Tells people what exchanges said: conversations, time lines, changes, bug reports, and all of it without secrets."""
