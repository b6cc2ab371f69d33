"""Benchmarks: each measures against a peer or a limit in the same run, prints JSON, and asserts nothing."""
