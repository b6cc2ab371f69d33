"""Door: files in object stores and on mounted claims. The worker reads and writes them; the gateway stages uploads."""
