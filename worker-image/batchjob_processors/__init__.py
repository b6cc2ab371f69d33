"""The processors that ship with BatchJob, found by entry point like anybody's."""
