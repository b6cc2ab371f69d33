"""The typed blocks of a BatchJob: what to do with each item, one module a type."""
