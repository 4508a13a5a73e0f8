"""What several gateways have in common while they run, in PostgreSQL: cooldowns, sessions, the accounts of client keys,
quotas, and who asks for them. Without the database each goes on by itself with what it knew last."""
