"""The proofs of the job types, against the neighbours with their faults and ledgers: `make prove PART=processors`."""
