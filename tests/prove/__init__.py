"""The long proofs: `make prove PART=…` runs them in full; `make test` runs samples of them with fixed seeds."""
