"""spec.notify: what is told to whom and when (notices), and the outbox that tells it by webhook and mail."""
