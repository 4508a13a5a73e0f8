"""From the model that a client names to the credentials that can serve it."""
