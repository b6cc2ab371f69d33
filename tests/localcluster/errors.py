"""The one error of the test cluster: its message is a sentence for the person at the terminal."""


class ClusterError(Exception):
    """A step of the cluster failed; the message says what, why, and where to look."""
