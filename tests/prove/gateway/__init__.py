"""The proofs of the gateway: what it answers, whatever it is sent."""
