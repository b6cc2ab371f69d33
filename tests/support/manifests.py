"""BatchJobs as tests write them: short builders that return the object `kubectl apply` takes."""

from typing import Any, Final

API_VERSION: Final = "batchjob.dev/v1alpha1"
BUCKET: Final = "batchjob"
S3_ENDPOINT: Final = "http://neighbours:9000"
SENTIMENT_FORM: Final = {
    "fields": [
        {"name": "sentiment", "type": "enum", "enum": ["positive", "neutral", "negative"]},
        {"name": "score", "type": "number", "minimum": -1, "maximum": 1},
    ]
}


def batch_job(name: str, kind: str, source: dict[str, Any], block: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A BatchJob; `spec` adds or replaces fields of the spec (camelCase names)."""
    field = {"ai-batch": "aiBatch"}.get(kind, kind)
    return {
        "apiVersion": API_VERSION,
        "kind": "BatchJob",
        "metadata": {"name": name},
        "spec": {"type": kind, "source": source, field: block, **spec},
    }


def inline(count: int, **data: Any) -> dict[str, Any]:
    """A source of `count` items i0, i1, …, each with a text of its own besides `data`."""
    return {"items": [{"id": f"i{n}", "data": {"text": f"sentence {n}", **data}} for n in range(count)]}


def ai_batch(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Annotate with the neighbours' chat server."""
    block = {
        "instructions": "Say how the writer feels.",
        "formSchema": SENTIMENT_FORM,
        "model": {"name": "stand-in", "baseUrl": "http://neighbours:8000/v1"},
    }
    return batch_job(name, "ai-batch", source, block, **spec)


def export(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Export to the neighbours' S3 store; needs the Secret `s3` (see `S3_SECRET`)."""
    block = {"format": "csv", "destination": destination("exports"), "rowsPerFile": 100}
    return batch_job(name, "export", source, block, **spec)


def email(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Send through the neighbours' SMTP sink; items carry `email`."""
    block = {
        "smtp": {"host": "neighbours", "port": 2525, "tls": "none"},
        "from": "BatchJob <batch@example.com>",
        "subject": "Hello {{ name }}",
        "text": "Dear {{ name }},\nthis is the text.\n",
    }
    return batch_job(name, "email", source, block, **spec)


def noop(name: str, source: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """The processor that does nothing."""
    return batch_job(name, "custom", source, {"processor": "noop"}, **spec)


def destination(folder: str) -> dict[str, Any]:
    """A folder of the neighbours' bucket."""
    return {"url": f"s3://{BUCKET}/{folder}", "endpoint": S3_ENDPOINT, "credentialsSecretRef": {"name": "s3"}}


S3_SECRET: Final = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s3"},
    "stringData": {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
}


def config_map(name: str, **files: str) -> dict[str, Any]:
    """A ConfigMap whose keys are file names with `_` for the dot, such as items_jsonl."""
    data = {key.replace("_", "."): text for key, text in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}
