"""The management API and the dashboard: a starlette application over an `Operator`, without a socket of its own."""
