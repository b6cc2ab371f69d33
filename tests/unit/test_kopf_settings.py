"""kopf is a mere watcher: what it would do besides is switched off."""

from kopf import Body

from batchjob.controller.supervisor import build_settings


def test_kopf_copies_no_object_for_a_comparison_that_nobody_asks_for() -> None:
    storage = build_settings().persistence.diffbase_storage
    body = Body({"metadata": {"name": "a"}, "spec": {"source": {"items": [{"id": "i0"}]}}})
    assert not storage.build(body=body, extra_fields=[])
    assert storage.fetch(body=body) is None
