"""Mistakes in specs and inputs of the four types, and what is said of each."""

from typing import Any, Final

from tests.support.bad_reports import REPORT
from tests.support.bad_specs import DSN, FILES, PLACE, SOURCE, TOKEN, Bad, sql, uri

ENDLESS: Final = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"
OF_A_MAP: Final[dict[str, Any]] = {"source": {"items": None, "configMapRef": {"name": "rows", "key": "r"}}}

AI: Final = (
    Bad(
        "ai-batch-unknown-model",
        ("answered 404", "check spec.aiBatch.model.baseUrl and spec.aiBatch.model.name"),
        faults=({"action": "status", "status": 404},),
    ),
    Bad(
        "ai-batch-401",
        ("answered 401", "check spec.aiBatch.model.apiKeySecretRef"),
        faults=({"action": "status", "status": 401},),
    ),
    Bad(
        "ai-batch-403",
        ("answered 403", "check spec.aiBatch.model.apiKeySecretRef"),
        faults=({"action": "status", "status": 403},),
    ),
    Bad(
        "ai-batch-400",
        ("answered 400", "check the item and spec.aiBatch.model"),
        faults=({"action": "status", "status": 400},),
    ),
    Bad(
        "ai-batch-500",
        ("answered 500", "its own failure, if spec.aiBatch.model.baseUrl is right"),
        faults=({"action": "status", "status": 500},),
    ),
    Bad(
        "ai-batch-cut",
        ("spec.aiBatch.model.baseUrl: ", "ends the connection without an answer: check scheme and port"),
        faults=({"action": "disconnect"},),
    ),
    Bad(
        "ai-batch-nobody-there",
        ("spec.aiBatch.model.baseUrl: ", "nothing answers there: check host and port"),
        {"model": {"baseUrl": "http://127.0.0.1:1/v1"}},
    ),
    Bad(
        "ai-batch-unknown-host",
        ("spec.aiBatch.model.baseUrl: ", "the host name is not known: check it"),
        {"model": {"baseUrl": "http://models.invalid/v1"}},
    ),
    Bad(
        "ai-batch-metadata",
        ("spec.aiBatch.model.baseUrl: ", "link-local address, where workers may not go: name another host"),
        {"model": {"baseUrl": "http://169.254.169.254/v1"}},
    ),
    Bad(
        "ai-batch-wrong-path",
        ("answered 404", "check spec.aiBatch.model.baseUrl"),
        {"model": {"baseUrl": "http://127.0.0.1:{chat}/nowhere"}},
    ),
    Bad(
        "ai-batch-no-http",
        ("spec.aiBatch.model.baseUrl: ", "check scheme and port"),
        {"model": {"baseUrl": "http://127.0.0.1:{smtp}/v1"}},
    ),
    Bad(
        "ai-batch-tls-where-none-is",
        ("spec.aiBatch.model.baseUrl: ", "does not speak TLS: check scheme and port"),
        {"model": {"baseUrl": "https://127.0.0.1:{chat}/v1"}},
    ),
    Bad(
        "ai-batch-prompt-syntax",
        ("spec.aiBatch.prompt is not a template: line 2, column 4: ", "expected end of variable block"),
        {"prompt": "Say.\n{{ text"},
    ),
    Bad(
        "ai-batch-prompt-undefined",
        ("spec.aiBatch.prompt, line 2, column 6: ", "`titel` is undefined; the item has: text"),
        {"prompt": "Say.\n  {{ titel }}"},
    ),
    Bad(
        "ai-batch-prompt-without-end",
        ("spec.aiBatch.prompt, line 1, column 39: ", "a loop in it is endless, or far too long"),
        {"prompt": ENDLESS},
    ),
    Bad(
        "ai-batch-example-no-json",
        ("spec.aiBatch.examples[0] is not JSON: Expecting value: line 1 column 1",),
        {"examples": [{"data": {"text": "a"}, "answer": "fine"}]},
    ),
    Bad(
        "ai-batch-example-wrong",
        ("spec.aiBatch.examples[0].answer does not fill the form: 'sentiment' is a required property",),
        {"examples": [{"data": {"text": "a"}, "answer": "{}"}]},
    ),
    Bad(
        "ai-batch-example-json",
        ("spec.aiBatch.examples[0].json must be the text of a JSON object",),
        {"examples": [{"json": "[]", "answer": "{}"}]},
    ),
    Bad(
        "ai-batch-form-no-json",
        ("spec.aiBatch.formSchemaRef: key f of ConfigMap forms is not JSON: ", "line 1 column 2"),
        {"formSchema": None, "formSchemaRef": {"name": "forms", "key": "f"}},
        mounts={"form": {"f": "{"}},
    ),
    Bad(
        "ai-batch-form-no-schema",
        ("spec.aiBatch.formSchemaRef: key f of ConfigMap forms must be a JSON Schema with type: object",),
        {"formSchema": None, "formSchemaRef": {"name": "forms", "key": "f"}},
        mounts={"form": {"f": '{"type": 7}'}},
    ),
    Bad(
        "ai-batch-key-of-two-lines",
        (
            "spec.aiBatch.model.apiKeySecretRef: key key of Secret model cannot be a header: ",
            "write its value as one line of visible ASCII",
        ),
        mounts={"model": {"key": f"{TOKEN}\n{TOKEN}"}},
    ),
    Bad(
        "ai-batch-key-not-ascii",
        (
            "spec.aiBatch.model.apiKeySecretRef: key key of Secret model cannot be a header: ",
            "write its value as one line of visible ASCII",
        ),
        mounts={"model": {"key": f"{TOKEN}ü"}},
    ),
    Bad(
        "ai-batch-key-empty",
        ("spec.aiBatch.model.apiKeySecretRef: ", "write its value as one line of visible ASCII"),
        mounts={"model": {"key": ""}},
    ),
    Bad(
        "ai-batch-header",
        ("spec.aiBatch.model.headersSecretRef: key X-A cannot be a header: ", "one line of visible ASCII"),
        {"model": {"headersSecretRef": {"name": "h"}}},
        mounts={"model-headers": {"X-A": f"{TOKEN}\r\nX: y"}},
    ),
    Bad(
        "ai-batch-broken-json",
        ("the model's answer does not fill the form, though it was told twice", "the answer is not JSON"),
        faults=({"action": "invalid_json"},),
    ),
    Bad(
        "ai-batch-wrong-answer",
        ("the model's answer does not fill the form", "is not one of ['positive', 'neutral', 'negative']"),
        faults=({"action": "wrong_answer"},),
    ),
    Bad(
        "ai-batch-filtered",
        ("the content filter stopped it", "reword the item, or spec.aiBatch.instructions"),
        faults=({"action": "content_filter"},),
    ),
    Bad(
        "ai-batch-refused",
        ("the model refused to answer: I cannot help", "reword the item, or spec.aiBatch.instructions"),
        faults=({"action": "refusal"},),
    ),
    Bad(
        "ai-batch-cut-off",
        ("was cut off", "raise spec.aiBatch.model.maxOutputTokens (1)"),
        {"model": {"maxOutputTokens": 1}},
    ),
    Bad(
        "ai-batch-slow",
        ("did not answer in time", "(spec.itemTimeoutSeconds)"),
        spec={"itemTimeoutSeconds": 1},
        faults=({"action": "delay", "delay_seconds": 3},),
    ),
)
EXPORT: Final = (
    Bad(
        "export-nobody-there",
        ("spec.export.destination: s3://batchjob/exports/", "nothing answers there: check host and port"),
        {"destination": {"endpoint": "http://127.0.0.1:1"}},
    ),
    Bad(
        "export-unknown-host",
        ("spec.export.destination: ", "the host name is not known: check it"),
        {"destination": {"endpoint": "http://s3.invalid"}},
    ),
    Bad(
        "export-endpoint-port",
        ("http://127.0.0.1:90x has a port that is no number: correct it",),
        {"destination": {"endpoint": "http://127.0.0.1:90x"}},
    ),
    Bad(
        "export-metadata",
        ("spec.export.destination: ", "where workers may not go: name another host"),
        {"destination": {"endpoint": "http://169.254.169.254"}},
    ),
    Bad(
        "export-no-bucket",
        (
            "spec.export.destination: s3://nowhere/out/",
            "does not exist (404 NoSuchBucket",
            "check the bucket and the key",
        ),
        {"destination": {"url": "s3://nowhere/out"}},
    ),
    Bad(
        "export-403",
        ("spec.export.destination: ", "was refused (403", "check the keys in credentialsSecretRef and their rights"),
        faults=({"action": "status", "status": 403},),
    ),
    Bad(
        "export-key-missing",
        ("spec.export.destination: Secret s3 has no key AWS_SECRET_ACCESS_KEY", "add it"),
        mounts={"destination-credentials": {"AWS_ACCESS_KEY_ID": TOKEN}},
    ),
    Bad(
        "export-not-on-a-claim",
        (
            "spec.export.destination: file:///nowhere/out is not below a mount of spec.worker.volumes",
            "mount the claim there",
        ),
        {"destination": {"url": "file:///nowhere/out", "endpoint": None, "credentialsSecretRef": None}},
    ),
    Bad(
        "export-wrong-column",
        ("1 item succeeded",),
        {"columns": [{"name": "id"}, {"name": "titel"}]},
        succeeds=True,
        logged=("check spec.export.columns", "titel"),
    ),
    Bad(
        "export-no-date",
        (
            "column 'text' has 'sentence 0', which is no date such as 2026-12-31",
            "choose another spec.export.columns[].format",
        ),
        {"columns": [{"name": "text", "format": "date"}]},
    ),
    Bad(
        "export-no-integer",
        ("column 'text' has 'sentence 0', which is no whole number", "choose another spec.export.columns[].format"),
        {"columns": [{"name": "text", "format": "integer"}]},
    ),
    Bad(
        "export-sql-syntax",
        ('spec.source.sql.query: syntax error at or near "SELEC"',),
        spec=sql("SELEC 1"),
        mounts=DSN,
    ),
    Bad(
        "export-sql-column",
        ('spec.source.sql.query: column "nope" does not exist',),
        spec=sql("SELECT nope AS id FROM generate_series(1, 3) n"),
        mounts=DSN,
    ),
    Bad(
        "export-sql-table",
        ('spec.source.sql.query: relation "nowhere" does not exist',),
        spec=sql("SELECT id FROM nowhere"),
        mounts=DSN,
    ),
    Bad(
        "export-sql-no-id",
        ("spec.source.sql: the query has no column 'id'", "(spec.source.idField); it has: n"),
        spec=sql("SELECT 1 AS n"),
        mounts=DSN,
    ),
    Bad(
        "export-sql-empty",
        ("The source had no items.",),
        spec=sql("SELECT n AS id FROM generate_series(1, 0) n"),
        mounts=DSN,
        succeeds=True,
        logged=("loaded", "0"),
    ),
    Bad(
        "export-sql-no-key",
        ("dsnSecretRef: key dsn of Secret shop is no connection string", "write postgresql://user:password@host"),
        spec=sql("SELECT 1 AS id"),
    ),
    Bad(
        "export-sql-login",
        (
            "spec.source.sql.dsnSecretRef: the database refused: password authentication failed",
            "check user, password and database",
        ),
        spec=sql("SELECT 1 AS id"),
        mounts={"source-credentials": {"dsn": f"postgresql://postgres:{TOKEN}@127.0.0.1:{{database}}/postgres"}},
    ),
    Bad(
        "export-sql-no-dsn",
        ("dsnSecretRef: key dsn of Secret shop is no connection string", "write postgresql://user:password@host"),
        spec=sql("SELECT 1 AS id"),
        mounts={"source-credentials": {"dsn": TOKEN}},
    ),
    Bad(
        "export-sql-host",
        ("spec.source.sql.dsnSecretRef: ", "the host name is not known: check it"),
        spec=sql("SELECT 1 AS id"),
        mounts={"source-credentials": {"dsn": f"postgresql://u:{TOKEN}@db.invalid/x"}},
    ),
    Bad(
        "export-source-missing",
        (
            "spec.source.uri: s3://batchjob/absent.jsonl",
            "does not exist (404 NoSuchKey",
            "check the bucket and the key",
        ),
        spec=uri("s3://batchjob/absent.jsonl"),
        mounts=SOURCE,
    ),
    Bad(
        "export-source-no-bucket",
        ("spec.source.uri: s3://nowhere/a.jsonl", "NoSuchBucket", "check the bucket and the key"),
        spec=uri("s3://nowhere/a.jsonl"),
        mounts=SOURCE,
    ),
    Bad(
        "export-source-nobody-there",
        ("spec.source.uri: ", "nothing answers there: check host and port"),
        spec=uri("s3://batchjob/a.jsonl", endpoint="http://127.0.0.1:1"),
        mounts=SOURCE,
    ),
    Bad(
        "export-source-key-missing",
        ("spec.source.uri: ", "Secret s3 has no key AWS_ACCESS_KEY_ID", "add it"),
        spec=uri("s3://batchjob/a.jsonl"),
    ),
    Bad(
        "export-source-form",
        ("spec.source.configMapRef: ConfigMap rows, key r: line 1: not JSON", "check spec.source.configMapRef.format"),
        spec=OF_A_MAP,
        mounts={"source": {"r": "id,n\na,1\n"}},
    ),
    Bad(
        "export-source-empty",
        ("The source had no items.",),
        spec=OF_A_MAP,
        mounts={"source": {"r": ""}},
        succeeds=True,
        logged=("loaded", "0"),
    ),
)
EMAIL: Final = (
    Bad(
        "email-sender",
        ("From (spec.email.from) is not an address: 'nobody'", "write user@host or Name <user@host>"),
        {"from": "nobody"},
    ),
    Bad(
        "email-reply-to",
        ("Reply-To (spec.email.replyTo) is not an address", "write user@host or Name <user@host>"),
        {"replyTo": "no body"},
    ),
    Bad(
        "email-recipient",
        ("To (spec.email.to) is not an address: 'P'", "write user@host or Name <user@host>"),
        {"to": "{{ name }}"},
    ),
    Bad(
        "email-recipients",
        ("To (spec.email.to) is not an address", "there are 2, or a name with a comma is not in quotes"),
        {"to": "a@mail.example, b@mail.example"},
    ),
    Bad(
        "email-text-syntax",
        ("spec.email.text is not a template: line 2, column 6: ", "expected end of variable block"),
        {"text": "Dear\n  {{ name"},
    ),
    Bad("email-html-syntax", ("spec.email.html is not a template: line 2, column 7: ",), {"html": "<p>\n{% if %}</p>"}),
    Bad(
        "email-subject-undefined",
        ("spec.email.subject, line 1, column 9: ", "`nmae` is undefined; the item has: email, name, evil"),
        {"subject": "Dear {{ nmae }}"},
    ),
    Bad(
        "email-text-filter",
        ("spec.email.text, line 1, column 11: ", "filter shout is unknown"),
        {"text": "{{ name | shout }}"},
    ),
    Bad(
        "email-text-without-end",
        ("spec.email.text, line 1, column 39: ", "a loop in it is endless, or far too long"),
        {"text": ENDLESS},
    ),
    Bad("email-header-injected", ("Subject (spec.email.subject) holds a line break",), {"subject": "{{ evil }}"}),
    Bad(
        "email-mjml",
        ("spec.email.html begins with <mjml> and is no MJML: ",),
        {"html": "<mjml><mj-body><mj-nope></mj-body></mjml>"},
    ),
    Bad(
        "email-unsubscribe",
        ("spec.email.listUnsubscribe.url does not begin with https://",),
        {"listUnsubscribe": {"url": "http://x/{{ name }}"}},
    ),
    Bad(
        "email-nobody-there",
        ("spec.email.smtp: 127.0.0.1:1 cannot be used: ", "nothing answers there: check host and port"),
        {"smtp": {"port": 1}},
    ),
    Bad(
        "email-unknown-host",
        ("spec.email.smtp: mail.invalid:", "the host name is not known: check it"),
        {"smtp": {"host": "mail.invalid"}},
    ),
    Bad(
        "email-metadata",
        ("spec.email.smtp.host: 169.254.169.254 is a link-local address", "name another host"),
        {"smtp": {"host": "169.254.169.254"}},
    ),
    Bad(
        "email-no-starttls",
        ("spec.email.smtp: ", "it offers no STARTTLS: set tls to tls, or to none"),
        {"smtp": {"tls": "starttls"}},
    ),
    Bad(
        "email-tls-where-none-is",
        ("spec.email.smtp: ", "does not speak TLS: check scheme and port"),
        {"smtp": {"tls": "tls"}},
    ),
    Bad(
        "email-password-missing",
        ("spec.email.smtp.credentialsSecretRef has no key SMTP_PASSWORD: add it",),
        mounts={"smtp": {"SMTP_USERNAME": TOKEN}},
    ),
    Bad(
        "email-login",
        ("refused the sign-in: 530 5.7.0", "check spec.email.smtp.credentialsSecretRef and spec.email.smtp.tls"),
        faults=({"action": "smtp_code", "status": 530, "words": "5.7.0 Authentication required"},),
    ),
    Bad(
        "email-550",
        ("refused: 550 5.1.1 no such user <p@mail.example>",),
        faults=({"action": "smtp_code", "status": 550, "words": "5.1.1 no such user"},),
    ),
    Bad(
        "email-554",
        ("refused: 554 5.7.1 spam <p@mail.example>",),
        faults=({"action": "data_code", "status": 554, "words": "5.7.1 spam"},),
    ),
    Bad(
        "email-450",
        ("put off: 450 4.2.1 try later <p@mail.example>",),
        faults=({"action": "smtp_code", "status": 450, "words": "4.2.1 try later"},),
    ),
    Bad(
        "email-cut",
        ("the mail may have been sent", "(spec.email.onDoubt): ask the recipient", "redrive the item to send it again"),
        {"onDoubt": "deadLetter"},
        faults=({"action": "lose_answer"},),
    ),
    Bad(
        "email-file-absent",
        ("spec.email.attachments[0].path: spec.email.files: s3://batchjob/mail/a.pdf", "check the bucket and the key"),
        {"files": PLACE, "attachments": [{"name": "a.pdf", "path": "a.pdf"}]},
        mounts=FILES,
    ),
    Bad(
        "email-file-outside",
        ("spec.email.attachments[0].path: ", "is no file below s3://batchjob/mail: write a path such as a/b.pdf"),
        {"files": PLACE, "attachments": [{"name": "a.pdf", "path": "../a.pdf"}]},
        mounts=FILES,
    ),
    Bad(
        "email-file-key-missing",
        ("spec.email.attachments[0].path: ", "Secret s3 has no key AWS_ACCESS_KEY_ID", "add it"),
        {"files": PLACE, "attachments": [{"name": "a.pdf", "path": "a.pdf"}]},
    ),
    Bad(
        "email-list-absent",
        ("spec.email.files: s3://batchjob/mail/off.txt", "does not exist", "check the bucket and the key"),
        {"files": PLACE, "suppression": {"path": "off.txt"}},
        mounts=FILES,
    ),
    Bad(
        "email-list-without-column",
        ("spec.email.suppression has no column 'email' (spec.email.suppression.column); it has: who",),
        {"suppression": {"configMapRef": {"name": "off", "key": "o"}, "column": "email"}},
        mounts={"suppression": {"o": "who\nx\n"}},
    ),
    Bad(
        "email-list-no-addresses",
        ("spec.email.suppression, line 1 is no address: correct it, or put a # before it",),
        {"suppression": {"configMapRef": {"name": "off", "key": "o"}}},
        mounts={"suppression": {"o": "not an address\n"}},
    ),
)
CASES: Final = (*AI, *EXPORT, *EMAIL, *REPORT)
