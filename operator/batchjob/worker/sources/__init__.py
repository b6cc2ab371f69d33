"""Sources: streams of records by id, from the manifest, a file, the web, an object store or another run's results."""
