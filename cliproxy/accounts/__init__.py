"""The user's logins while the gateway runs: their tokens, kept fresh, and the credentials that stand for them."""
