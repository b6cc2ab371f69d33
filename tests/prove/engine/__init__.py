"""What the item engine promises, proven by trials; each module is one promise, and each trial one seed."""
