"""What the gateway holds to call upstreams with: records of keys and accounts, and the pool that chooses among them."""
