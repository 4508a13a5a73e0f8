"""Logging in and staying logged in: OAuth flows as such, without any vendor's own facts."""
