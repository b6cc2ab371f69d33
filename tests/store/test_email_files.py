"""Type email and files: attachments, images, lists of those who get no mail, and mails that become files."""

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from batchjob.api.run import Run
from batchjob.errors import ConfigurationError
from batchjob.worker.processor import make_processor
from tests.support import manifests
from tests.support.mailing import mailing, people, received, send
from tests.support.neighbours.client import Neighbours
from tests.support.workers import Workers

S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
ONCE = {"retry": {"maxAttempts": 1}}


def place(neighbours: Neighbours, folder: str = "mail") -> dict[str, Any]:
    return manifests.destination(folder) | {"endpoint": f"http://127.0.0.1:{neighbours.ports['s3']}"}


async def opened(workers: Workers, spec: dict[str, Any]) -> Run:
    run = await workers.open(spec)
    for purpose in ("files-credentials", "results-credentials"):
        workers.reference(run, purpose, **S3_KEYS)
    return run


async def test_a_mail_has_its_files_from_a_bucket_from_its_item_and_as_images(
    workers: Workers, neighbours: Neighbours
) -> None:
    neighbours.put_object("batchjob", "mail/invoices/7 ü.pdf", b"%PDF-7")
    neighbours.put_object("batchjob", "mail/logo.png", b"\x89PNG")
    block = {
        "html": '<img src="cid:logo" alt="Logo"> Hello',
        "files": place(neighbours),
        "attachments": [
            {"name": "invoice-{{ number }}.pdf", "path": "invoices/{{ number }}.pdf"},
            {"name": "logo.png", "path": "logo.png", "contentId": "logo"},
            {"name": "termin.ics", "text": "BEGIN:VCALENDAR {{ number }}"},
        ],
    }
    source = people(3, number="7 ü")
    found = await send(workers, await opened(workers, mailing(neighbours, source, block)))
    assert found.counts.succeeded == 3, found.last_errors
    mail = received(neighbours)["p1@mail.example"]
    files = [(part.get_filename(), part.get_content_type()) for part in mail.iter_attachments()]
    assert files == [("invoice-7 ü.pdf", "application/pdf"), ("termin.ics", "text/calendar")]
    invoice, calendar = mail.iter_attachments()
    assert (invoice.get_content(), calendar.get_content()) == (b"%PDF-7", "BEGIN:VCALENDAR 7 ü")
    html = mail.get_body(("related",))
    assert isinstance(html, EmailMessage)
    [image] = html.iter_attachments()
    assert (image["Content-ID"], image.get_content()) == ("<logo>", b"\x89PNG")
    text = mail.get_body(("plain",))
    assert isinstance(text, EmailMessage)
    assert text.get_content().strip().startswith("Dear P1"), "the text of the block is kept"


async def test_the_one_file_of_an_export_goes_along(workers: Workers, neighbours: Neighbours) -> None:
    target = place(neighbours, "exports")
    block = {"singleFile": True, "destination": target}
    export = await workers.open(manifests.batch_job("orders", "export", people(2), block)["spec"])
    workers.reference(export, "destination-credentials", **S3_KEYS)
    await workers.work(export, make_processor("export"))
    name = f"{export.name}.csv"
    attached = {"name": name, "path": f"{export.folder}/{name}"}
    spec = mailing(neighbours, people(1), {"files": target, "attachments": [attached]})
    found = await send(workers, await opened(workers, spec))
    assert found.counts.succeeded == 1, found.last_errors
    [file] = received(neighbours)["p0@mail.example"].iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == (name, "text/csv")
    assert "p1@mail.example" in file.get_content()


@pytest.mark.parametrize(
    ("attachment", "said"),
    [
        (
            {"name": "a", "path": "absent.pdf"},
            "spec.email.attachments[0].path: spec.email.files: s3://batchjob/mail/absent",
        ),
        ({"name": "a", "path": "{{ evil }}"}, "is no file below s3://batchjob/mail: write a path such as"),
        ({"name": "{{ evil }}", "text": "x"}, "spec.email.attachments[0].name is no name of a file"),
        ({"name": "=?utf-8?q?a=0D=0ABcc:_b?=", "text": "x"}, "spec.email.attachments[0].name is no name of a file"),
        ({"name": "a", "path": "big"}, "is larger than 10,485,760 bytes"),
    ],
)
async def test_an_attachment_that_cannot_go_along_fails_the_item_and_says_why(
    workers: Workers, neighbours: Neighbours, attachment: dict[str, str], said: str
) -> None:
    neighbours.put_object("batchjob", "mail/big", b"x" * (10 * 2**20 + 1))
    block = {"files": place(neighbours), "attachments": [attachment]}
    spec = mailing(neighbours, people(1, evil="../secret"), block, **ONCE)
    found = await send(workers, await opened(workers, spec))
    assert (found.counts.failed, found.last_errors[0].error_class) == (1, "invalid-input")
    assert said in found.last_errors[0].message
    assert neighbours.ledger("smtp") == []


@pytest.mark.parametrize("kind", ["secretRef", "configMapRef", "path"])
async def test_who_is_on_the_list_gets_no_mail_and_is_told_apart(
    workers: Workers, neighbours: Neighbours, kind: str
) -> None:
    listed = "who,email\nx,P1@MAIL.example\n"
    neighbours.put_object("batchjob", "mail/off.csv", listed.encode())
    suppression = {kind: "off.csv" if kind == "path" else {"name": "off", "key": "off.csv"}, "column": "email"}
    block = {"files": place(neighbours), "suppression": suppression}
    run = await opened(workers, mailing(neighbours, people(3), block))
    if kind != "path":
        workers.reference(run, "suppression", off__csv=listed)
    found = await send(workers, run)
    assert found.counts.succeeded == 3
    assert found.usage == {"emailsSent": 2, "mailsSuppressed": 1}
    assert sorted(received(neighbours)) == ["p0@mail.example", "p2@mail.example"]
    results = [r.result async for r in workers.store.results(run.uid)]
    assert [b'"suppressed":true' in result for result in results] == [False, True, False]


async def test_a_list_that_is_not_there_stops_the_run_before_any_mail(workers: Workers, neighbours: Neighbours) -> None:
    block = {"files": place(neighbours), "suppression": {"path": "absent.txt"}}
    run = await opened(workers, mailing(neighbours, people(1), block))
    with pytest.raises(ConfigurationError, match=r"spec.email.files: s3://batchjob/mail/absent.txt .* does not exist"):
        await workers.work(run, make_processor("email"))


async def test_a_dry_run_writes_the_mails_and_speaks_to_no_server(workers: Workers, neighbours: Neighbours) -> None:
    block = {"dryRun": True, "smtp": {"host": "mail.invalid"}}
    spec = mailing(neighbours, people(2), block, results={"destination": place(neighbours, "dry")}, **ONCE)
    run = await opened(workers, spec)
    found = await send(workers, run)
    assert (found.counts.succeeded, found.usage) == (2, {"emailsWritten": 2}), found.last_errors
    raw = neighbours.get_object("batchjob", f"dry/{run.folder}/mail-{1:012d}.eml")
    assert message_from_bytes(raw, policy=default)["To"] == "p1@mail.example"
    assert "manifest.json" in " ".join(neighbours.list_objects("batchjob", f"dry/{run.folder}"))
    assert neighbours.ledger("smtp") == []
