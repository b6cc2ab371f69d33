"""The resources: pydantic models of `batchjob.dev`, without I/O; the CRDs are generated from them."""
