"""`batchjob run` before anything is started: manifests, references, processors; and what it says at the end."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from batchjob.api.crd import crd
from batchjob.api.run import StoreAccess
from batchjob.api.status import Counts
from batchjob.cli import execute as batchjob
from batchjob.core.items import RunState
from batchjob.core.snapshot import Snapshot
from batchjob.errors import ConfigurationError, StoreUnavailable
from batchjob.local.command import check
from batchjob.local.manifest import Manifest, read_manifest
from batchjob.local.output import Output, read_letters
from batchjob.local.processors import find_processors, kebab_case, write_entry_points
from batchjob.local.references import environment, mount
from batchjob.local.session import _where
from batchjob.local.summary import summarize
from batchjob.store import DeadLetter, Store
from batchjob.worker.processor import make_processor
from tests.support.manifests import S3_SECRET, ai_batch, batch_job, config_map, email, export, inline, noop

REPOSITORY = Path(__file__).parents[2]
EXAMPLES, BAD = (
    [path for path in sorted((REPOSITORY / folder).glob("*.yaml")) if "kind: BatchJob\n" in path.read_text()]
    for folder in ("examples", "tests/cluster/manifests/bad")
)
EXPECT = "# expect: "
RULES = json.dumps(crd())
OF_A_CHANGE = ("added-", "changed-", "removed-", "cancel-taken-back")  # here every object is new


def manifest(folder: Path, *documents: dict[str, Any]) -> Manifest:
    path = folder / "batchjob.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return read_manifest([path])


# ---- manifests


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_can_be_read(path: Path) -> None:
    assert read_manifest([path]).job.metadata.name


@pytest.mark.parametrize("path", [path for path in BAD if not path.stem.startswith(OF_A_CHANGE)], ids=lambda p: p.stem)
def test_what_the_api_server_refuses_is_refused_without_a_cluster(path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be run:\n  (spec|metadata)\.") as error:
        read_manifest([path])
    expected = [line.removeprefix(EXPECT) for line in path.read_text().splitlines() if line.startswith(EXPECT)]
    ours = [words for words in expected if words in RULES]  # the others are of the API server's own wording
    assert all(words in str(error.value) for words in ours)


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    wrong = noop("wrong", inline(1), parallelism="two", concurency=3)
    with pytest.raises(ConfigurationError) as error:
        manifest(tmp_path, wrong)
    assert str(error.value).splitlines()[1:] == [
        "  spec.parallelism: should be a valid integer (it is 'two')",
        "  spec.concurency: there is no such field; did you mean concurrency?",
    ]


def test_a_date_in_an_item_is_a_text_as_with_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    text = yaml.safe_dump(noop("dated", {"items": [{"id": "a", "data": {"day": "DAY"}}]}))
    path.write_text(text.replace("DAY", "2024-01-01"))
    items = read_manifest([path]).job.spec.source.items
    assert items
    assert items[0].data == {"day": "2024-01-01"}


@pytest.mark.parametrize("jobs", [0, 2])
def test_exactly_one_batchjob_is_run(tmp_path: Path, jobs: int) -> None:
    with pytest.raises(ConfigurationError, match=f"one BatchJob is run, and there are {jobs}"):
        manifest(tmp_path, config_map("other"), *(noop(f"job-{n}", inline(1)) for n in range(jobs)))


def test_a_schedule_alone_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="write the spec of its jobTemplate as a BatchJob to run it now"):
        manifest(tmp_path, {"apiVersion": "batchjob.dev/v1alpha1", "kind": "BatchSchedule"})


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "is not YAML"), ("- a", "a document is a map"), ("kind: BatchJob\napiVersion: v1", "write batchjob.dev")],
)
def test_a_file_that_is_no_manifest_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=words):
        read_manifest([path])


def test_a_url_without_a_scheme_is_a_path_beside_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "my items.jsonl").touch()
    found = manifest(tmp_path, noop("here", {"uri": {"url": "my items.jsonl"}})).job
    assert found.spec.source.uri
    assert found.spec.source.uri.url == (tmp_path / "my items.jsonl").as_uri()
    check(found)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"uri": {"url": "absent.jsonl"}}, "there is no file .*absent.jsonl on this machine"),
        ({"uri": {"url": "file:///dev/zero"}}, "/dev/zero is no regular file"),
        ({"uri": {"url": "file://items.jsonl"}}, "write file:///absolute/path, or items.jsonl"),
        ({"resultsOf": {"batchJobName": "other"}}, "spec.source.uri.url: other-results/results.jsonl"),
    ],
)
def test_a_source_that_is_not_here_is_named_with_the_way_out(
    tmp_path: Path, source: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check(manifest(tmp_path, noop("absent", source)).job)


# ---- what a run refers to


def test_references_are_laid_out_as_a_pod_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    source = {"configMapRef": {"name": "items", "key": "items.jsonl"}}
    found = manifest(tmp_path, export("out", source), S3_SECRET, config_map("items", items_jsonl="{}"))
    mount(found, tmp_path / "references")
    files = {path.relative_to(tmp_path / "references"): path.read_text() for path in tmp_path.rglob("references/*/*")}
    assert {str(path): text for path, text in files.items()} == {
        "source/items.jsonl": "{}",
        "destination-credentials/AWS_ACCESS_KEY_ID": "test",
        "destination-credentials/AWS_SECRET_ACCESS_KEY": "test",
        "destination-credentials/AWS_REGION": "eu-central-1",
    }


def with_smtp_secret() -> dict[str, Any]:
    job = email("mail", inline(1))
    job["spec"]["email"]["smtp"]["credentialsSecretRef"] = {"name": "login"}
    return job


def with_model_secret() -> dict[str, Any]:
    job = ai_batch("annotate", inline(1))
    job["spec"]["aiBatch"]["model"]["apiKeySecretRef"] = {"name": "openai", "key": "MY_KEY"}
    return job


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (with_smtp_secret(), "spec.email.smtp.credentialsSecretRef: .*SMTP_USERNAME is not in the environment"),
        (with_model_secret(), "spec.aiBatch.model.apiKeySecretRef: .*MY_KEY is not in the environment. Set either."),
        (export("out", inline(1)), "spec.export.destination.credentialsSecretRef: .*AWS_ACCESS_KEY_ID"),
        (noop("n", {"configMapRef": {"name": "m", "key": "k"}}), "spec.source.configMapRef: .*ConfigMap m .* Add it"),
    ],
    ids=["smtp", "model", "bucket", "config-map"],
)
def test_what_is_nowhere_is_named_with_the_way_out(tmp_path: Path, job: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        mount(manifest(tmp_path, job), tmp_path)


def test_variables_come_from_the_documents_that_env_from_names(tmp_path: Path) -> None:
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"A": "b25l"}, "stringData": {"B": "two"}}
    sources = [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "absent"}}]
    found = manifest(tmp_path, noop("n", inline(1), worker={"envFrom": sources}), secret)
    assert environment(found) == {"A": "one", "B": "two"}


# ---- processors


@pytest.mark.parametrize(
    ("name", "kebab"),
    [
        ("Fingerprint", "fingerprint"),
        ("TellLength", "tell-length"),
        ("HTTPFetch", "http-fetch"),
        ("Ocr2Text", "ocr2-text"),
    ],
)
def test_a_class_is_known_by_its_name_in_kebab_case(name: str, kebab: str) -> None:
    assert kebab_case(name) == kebab


MODULE = """
from batchjob.worker import Processor, Item, Context
from batchjob_processors.noop import Noop  # somebody else's

class Base(Processor):
    \"\"\"No processor yet.\"\"\"

class One(Base):
    def process(self, item: Item, context: Context) -> None: ...

class TwoAtOnce(Base):
    def process_many(self, items: list[Item], context: Context) -> None: ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module in the current directory, of a name that no other test imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / f"module_{tmp_path.name}".replace("-", "_")
    path.with_suffix(".py").write_text(MODULE)
    return path


def test_a_module_makes_its_own_processors_known(module: Path) -> None:
    name = module.name
    assert find_processors([name]) == {"one": f"{name}:One", "two-at-once": f"{name}:TwoAtOnce"}
    assert find_processors([f"{name}:One"]) == {"one": f"{name}:One"}
    assert find_processors([f"mine={name}:One", name])["mine"] == f"{name}:One"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("absent_module", "there is no module absent_module"),
        ("{}.py", r"write \w+, without .py"),
        ("{}:Base", r"module_\w+:Base is a Processor without `process` or `process_many`"),
        ("../{}.py", "takes module, module:Class or name=module:Class"),
        ("{}:Absent", "has no Processor of the name Absent"),
        ("mine={}", "takes module, module:Class or name=module:Class"),
        ("batchjob.log", "has no class that is a Processor"),
    ],
)
def test_processors_that_are_not_there_are_named(module: Path, option: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        find_processors([option.format(module.name)])


@pytest.mark.parametrize("name", ["email.py", "json/__init__.py"])
def test_a_file_that_hides_a_module_of_python_is_named(module: Path, name: str) -> None:
    (module.parent / name).parent.mkdir(exist_ok=True)
    (module.parent / name).touch()
    with pytest.raises(
        ConfigurationError, match=f"{name} hides Python's own module (email|json): give it another name"
    ):
        find_processors([module.name])


@pytest.mark.parametrize("line", ["import absent_library", "1 / 0", "raise SystemExit(5)"])
def test_a_module_that_fails_shows_its_author_where(module: Path, line: str) -> None:
    module.with_suffix(".py").write_text(f"{line}\n")
    with pytest.raises(ConfigurationError) as error:
        find_processors([module.name])
    _, first, place, *_ = str(error.value).splitlines()
    assert first == "Traceback (most recent call last):"
    assert f'{module.name}.py", line 1' in place


def test_a_processor_that_is_named_comes_before_an_installed_one(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_entry_points({"noop": f"{module.name}:One"}, tmp_path / "points")
    monkeypatch.syspath_prepend(tmp_path / "points")
    assert type(make_processor("noop")).__name__ == "One"
    assert type(make_processor("email")).__name__ == "Email"


def test_two_processors_of_one_name_are_refused(module: Path) -> None:
    with pytest.raises(ConfigurationError, match="would both be 'one'"):
        find_processors([module.name, f"one={module.name}:TwoAtOnce"])


# ---- the command


def test_bad_input_is_64_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    unknown = batch_job("unknown", "custom", inline(1), {"processor": "absent"})
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(unknown))
    assert batchjob(["run", "-f", "job.yaml"]) == 64
    assert "spec.custom.processor: there is no processor 'absent'; there are: " in capsys.readouterr().err
    assert batchjob(["run", "-f", "absent.yaml"]) == 64
    assert capsys.readouterr().err == "batchjob run: absent.yaml cannot be read: No such file or directory\n"
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(noop("known", inline(1))))
    assert batchjob(["run", "-f", "job.yaml", "--redrive"]) == 64
    assert "there is no known-results/dead-letters.jsonl: run without --redrive first" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(noop("fine", inline(1))))
    assert batchjob(["run", "-f", "job.yaml", "--out", "job.yaml/results"]) == 64
    assert (
        capsys.readouterr().err
        == "batchjob run: --out: job.yaml/results cannot be made: Not a directory. Name another folder\n"
    )


def test_no_dead_letters_are_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(noop("fine", inline(1))))
    (tmp_path / "fine-results").mkdir()
    (tmp_path / "fine-results" / "dead-letters.jsonl").touch()
    assert batchjob(["run", "-f", "job.yaml", "--redrive"]) == 0
    assert "nothing is to be done again" in capsys.readouterr().out


def test_a_dead_letter_that_is_there_twice_is_named(tmp_path: Path) -> None:
    letter = {"id": "a", "errorClass": "internal", "message": "", "attempts": 1, "data": {}}
    (tmp_path / "dead-letters.jsonl").write_bytes((msgspec.json.encode(letter) + b"\n") * 2)
    with pytest.raises(ConfigurationError, match=r"dead-letters.jsonl, line 2: id 'a' is there twice: remove a line"):
        read_letters(tmp_path)


def test_a_damaged_dead_letter_is_named_by_its_line(tmp_path: Path) -> None:
    letter = {"id": "a", "errorClass": "internal", "message": "", "attempts": 1, "data": {}}
    (tmp_path / "dead-letters.jsonl").write_bytes(msgspec.json.encode(letter) + b'\n{"id": 7}\n')
    with pytest.raises(ConfigurationError, match=r"dead-letters.jsonl, line 2: is no dead letter"):
        read_letters(tmp_path)


def test_a_store_that_dies_while_files_are_written_leaves_no_half_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def letters(_: Output) -> AsyncIterator[DeadLetter]:
        yield letter(1, "internal", "")
        raise StoreUnavailable("the store does not answer")

    monkeypatch.setattr(Output, "letters", letters)
    store = Store.connect(StoreAccess(url="redis://127.0.0.1:1"), name="x")
    with pytest.raises(StoreUnavailable):
        asyncio.run(Output(store, "uid", tmp_path).write(set(), results=False))
    assert list(tmp_path.iterdir()) == []


# ---- the summary


def snapshot(total: int | None, usage: dict[str, int], **counts: int) -> Snapshot:
    return Snapshot(
        epoch="e",
        state=RunState.CLOSED,
        paused=False,
        total=total,
        counts=Counts(total=total or 0, **counts),
        usage=usage,
        failed_positions=[],
        bad_items=0,
        bad_item_messages=[],
        last_errors=[],
        reason=None,
        message=None,
        abandoned=False,
        load_error=None,
        source_sha256=None,
        source_etag=None,
        results_uri=None,
        manifest_sha256=None,
        next_due_ms=None,
        version=1,
    )


def letter(n: int, kind: str, message: str) -> DeadLetter:
    return DeadLetter(n, f"i{n}", kind, message, 1, 0, b"{}", 0)


def test_a_summary_counts_and_tells_failures_by_class_with_an_example() -> None:
    letters = [letter(1, "timeout", "too\nlong"), letter(2, "internal", "x" * 200), letter(3, "internal", "other")]
    assert summarize("job", snapshot(20, {"mails": 1200}, succeeded=15, failed=3), letters, 4.0).splitlines() == [
        "job: 15 of 20 succeeded, 3 failed, 2 not done in 4.0s (4.5/s)",
        "",
        "failed  class     for example",
        f"     2  internal  i2: {'x' * 159}…",
        "     1  timeout   i1: too long",
        "",
        "used: mails 1,200",
    ]


def test_what_others_said_does_not_move_the_cursor_of_a_terminal() -> None:
    said = summarize("job", snapshot(1, {}, failed=1), [letter(1, "internal", "größer\x1b[2J")], 1.0)
    assert said.splitlines()[-1] == r"     1  internal  i1: größer\x1b[2J"


def test_a_summary_of_a_run_that_loaded_nothing_says_so() -> None:
    assert summarize("job", snapshot(None, {}), [], 61.0) == "job: nothing was loaded, in 1m1s"
    early = summarize("job", snapshot(None, {}, succeeded=6, waiting=1), [], 60.0)
    assert early == "job: 6 done, and the source was not read to its end, in 1m0s (0.10/s)"


def test_a_run_that_is_stopped_while_its_source_is_read_says_that_not_all_is_left(tmp_path: Path) -> None:
    lines = list(_where(snapshot(None, {}, succeeded=3), tmp_path, here=True))
    assert lines == [
        f"results: {tmp_path / 'results.jsonl'}",
        "the source was not read to its end, and what was not done is in no file: run again without --redrive",
    ]
