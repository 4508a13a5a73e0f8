"""The certificates that this machine makes for itself: a local CA that can sign for a few names only, and its leafs."""
