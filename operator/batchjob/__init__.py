"""Batch jobs on Kubernetes: an operator, its item store and its workers."""
