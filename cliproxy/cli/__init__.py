"""The `cliproxy` command."""
