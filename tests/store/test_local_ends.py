"""How `batchjob run` ends: its exit codes, what it leaves behind when it is stopped, and what it says of user code."""

import os
import pty
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.support.local_runs import Place, custom, until
from tests.support.redis_server import RedisServer

MINE = ("--processors", "mine")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


def test_a_processor_that_does_not_open_is_one_traceback_of_its_own_and_one_sentence(place: Place) -> None:
    place.write(custom({}, custom={"processor": "tell-length", "params": {"break": ""}}))
    done = place.run(*MINE, "--workers", "2")
    assert (done.returncode, done.stdout) == (64, "")
    first, *trace, last = (line for line in done.stderr.splitlines() if not line.startswith("tell: 0/?"))
    assert first == "error    the processor did not open"
    assert last == "batchjob run: the processor's `open` raised ValueError: there is no model file"
    assert trace[0] == "Traceback (most recent call last):"
    assert 'mine.py", line' in trace[1]
    assert trace.count("Traceback (most recent call last):") == 1


def test_a_processor_that_leaves_while_it_opens_has_not_ended_the_run(place: Place) -> None:
    place.write(custom({}, custom={"processor": "tell-length", "params": {"leave": ""}}))
    done = place.run(*MINE)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.endswith("batchjob run: the processor's `open` raised SystemExit: 0\n")


def test_a_processor_that_cannot_be_made_shows_its_author_where(place: Place) -> None:
    (place.folder / "mine.py").write_text(
        "from batchjob.worker import Processor\n\n\nclass TellLength(Processor):\n"
        "    def __init__(self):\n        1 / 0\n\n    def process(self, item, context): ...\n"
    )
    place.write(custom({}))
    done = place.run(*MINE, "--workers", "2")
    assert done.returncode == 64
    assert done.stderr.count('mine.py", line 6, in __init__') == 1
    assert done.stderr.endswith(
        "batchjob run: processor 'tell-length' cannot be loaded: ZeroDivisionError: division by zero\n"
    )


def test_a_result_with_nan_is_an_error_of_its_item_and_never_null(place: Place) -> None:
    place.write(custom({}, {"do": "divide"}, retry={"maxAttempts": 1}))
    done = place.run(*MINE)
    assert done.returncode == 1, done.stderr
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0"]
    (letter,) = place.lines("dead-letters.jsonl")
    assert "share is nan, and JSON has no such number" in letter["message"]


def test_a_redrive_does_what_a_stopped_run_did_not_do(place: Place) -> None:
    place.write(custom({}, {"do": "fail until mended"}, *({"do": "rest"} for _ in range(30)), concurrency=1))
    with place.begin(*MINE) as process:
        until(process.stderr, "looking at i2")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 130
    assert "failed items and those not done: tell-results/dead-letters.jsonl (the same command with --redrive" in out
    letters = {letter["id"]: letter["errorClass"] for letter in place.lines("dead-letters.jsonl")}
    assert (letters["i1"], letters["i31"]) == ("invalid-input", "not-done")
    assert len(letters) + len(place.lines("results.jsonl")) == 32

    done = place.run(*MINE, "--redrive", environment={"MENDED": "1"})
    assert done.returncode == 0, done.stderr
    assert sorted(line["result"]["length"] for line in place.lines("results.jsonl")) == list(range(32))
    assert place.lines("dead-letters.jsonl") == []


def test_a_worker_is_replaced_though_what_it_started_lives_on(place: Place) -> None:
    place.write(custom({"do": "crash once"}))
    done = place.run(*MINE)
    assert done.returncode == 0, done.stderr
    assert "a worker was lost: it was ended by SIGABRT" in done.stderr
    assert "Traceback" not in done.stderr
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0"]


def test_a_run_that_is_stopped_before_any_item_is_done_leaves_earlier_files_alone(place: Place) -> None:
    place.write(custom({}))
    assert place.run(*MINE).returncode == 0
    place.write(custom({"do": "wait"}))
    with place.begin(*MINE) as process:
        until(process.stderr, "looking at i0")
        process.send_signal(signal.SIGTERM)
        until(process.stderr, "stopping")
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate()
    assert (process.returncode, "0 of 1 succeeded, 1 not done" in out, "results" in out) == (143, True, False)
    assert [line["id"] for line in place.lines("results.jsonl")] == ["i0"]


def test_a_terminal_that_is_closed_stops_the_run_and_what_is_done_is_kept(place: Place) -> None:
    place.write(custom({}, *({"do": "rest"} for _ in range(100)), concurrency=1))
    ours, theirs = pty.openpty()
    # Who runs the tests under nohup has us ignore what a terminal's end says, and so would what we begin.
    with place.begin(*MINE, output=theirs, prefix=("env", "--default-signal=HUP")) as process:
        os.close(theirs)
        shown = b""
        while b"looking at i2" not in shown:
            shown += os.read(ours, 65536)
        os.close(ours)
        process.send_signal(signal.SIGHUP)  # as the kernel does to whom the terminal belonged
        process.wait()
    assert process.returncode == 129
    assert len(place.lines("results.jsonl")) + len(place.lines("dead-letters.jsonl")) == 101


def test_nohup_keeps_the_run_going(place: Place) -> None:
    place.write(custom({}, {"do": "rest"}, {"do": "rest"}, concurrency=1))
    with place.begin(*MINE, prefix=("nohup",)) as process:
        until(process.stderr, "looking at i0")
        process.send_signal(signal.SIGHUP)
        process.communicate()
    assert process.returncode == 0
    assert len(place.lines("results.jsonl")) == 3


def test_a_folder_that_cannot_be_written_at_the_end_costs_no_result_once_there_is_room(place: Place) -> None:
    in_the_way = place.folder / "tell-results" / "results.jsonl.unfinished"
    in_the_way.mkdir(parents=True)
    place.write(custom({}))
    with place.begin(*MINE) as process:
        until(process.stderr, "tell-results cannot be written: Is a directory: make room")
        in_the_way.rmdir()
        out, _ = process.communicate()
    assert process.returncode == 0, out
    assert len(place.lines("results.jsonl")) == 1


def test_results_may_be_given_up_where_they_cannot_be_written(place: Place) -> None:
    (place.folder / "tell-results" / "results.jsonl.unfinished").mkdir(parents=True)
    place.write(custom({}))
    with place.begin(*MINE) as process:
        until(process.stderr, "make room")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, "in flight" in err) == (130, False)
    assert "1 of 1 succeeded" in out
    assert "nothing was written: tell-results cannot be written: Is a directory" in out


def test_a_store_of_the_run_that_dies_says_that_nothing_is_kept(place: Place) -> None:
    place.write(custom({}, {"do": "wait"}, concurrency=1))
    with place.begin(*MINE) as process:
        until(process.stderr, "looking at i1")
        (server,) = (path for path in Path("/proc").glob("[0-9]*/cmdline") if is_server_of(place, path))
        os.kill(int(server.parent.name), signal.SIGKILL)
        out, _ = process.communicate()
    assert process.returncode == 1
    assert out.startswith("tell: the store of this run died: ")
    assert out.endswith(
        "Nothing was written to tell-results. Run the same command again: what was done is done once more.\n"
    )


def is_server_of(place: Place, cmdline: Path) -> bool:
    try:
        said = cmdline.read_bytes()
    except OSError:  # it has ended meanwhile
        return False
    return b"redis-server" in said and str(place.temporary).encode() in said


def test_a_store_that_is_away_may_be_given_up(place: Place, tmp_path: Path) -> None:
    server = RedisServer(tmp_path).start()
    place.write(custom({}, *({"do": "rest"} for _ in range(100)), concurrency=1))
    try:
        with place.begin(*MINE, "--store", server.url) as process:
            until(process.stderr, "looking at i1")
            server.kill()
            until(process.stderr, "tell: waiting for the store, until it is back: ")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
    finally:
        server.kill()
    assert process.returncode == 130
    assert "Nothing was written to tell-results. Run the same command again" in out
    assert "may be left in the store" in err


async def test_a_store_that_lost_the_run_says_that_nothing_is_kept(
    place: Place, redis: Redis, redis_server: RedisServer
) -> None:
    place.write(custom({}, {"do": "wait"}, concurrency=1))
    with place.begin(*MINE, "--store", redis_server.url) as process:
        until(process.stderr, "looking at i1")
        await redis.flushall()
        out, _ = process.communicate()
    assert process.returncode == 1
    assert out.startswith("tell: the store lost the run: somebody deleted its keys. A store of its own is safest.\n")
    assert "Nothing was written to tell-results" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_before_it_begins_says_so(place: Place, number: int, code: int) -> None:
    begins = "import sys, time\nprint('at the beginning', file=sys.stderr, flush=True)\ntime.sleep(60)\n"
    (place.folder / "mine.py").write_text(begins)
    place.write(custom({}))
    with place.begin(*MINE) as process:
        until(process.stderr, "at the beginning")
        process.send_signal(number)
        _, err = process.communicate()
    assert (process.returncode, err) == (code, "batchjob run: stopped before anything began\n")


def test_a_ctrl_c_while_a_library_is_imported_ends_the_command_before_the_library_hears_it(place: Place) -> None:
    libraries = place.folder / "libraries"
    libraries.mkdir()
    panics = "    raise RuntimeError('the library panicked')\n"
    (libraries / "pydantic.py").write_text(
        f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n{panics}"
    )
    place.write(custom({}))
    done = place.run(*MINE, environment={"PYTHONPATH": str(libraries)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_run_that_had_nothing_to_write_leaves_no_empty_folder(place: Place) -> None:
    place.write(custom({}, source={"uri": {"url": "items.jsonl"}}))
    (place.folder / "items.jsonl").write_text("no JSON\n")
    assert place.run(*MINE).returncode == 64
    assert not (place.folder / "tell-results").exists()


def test_two_runs_do_not_write_to_one_folder(place: Place) -> None:
    place.write(custom({"do": "wait"}))
    with place.begin(*MINE) as process:
        until(process.stderr, "looking at i0")
        second = place.run(*MINE)
        process.kill()
    assert (second.returncode, second.stdout) == (64, "")
    assert (
        second.stderr == "batchjob run: --out: another run writes to tell-results: wait for its end, or name another\n"
    )


def test_a_store_that_is_not_there_is_bad_input(place: Place) -> None:
    place.write(custom({}))
    for url, words in (
        ("redis://127.0.0.1:1", "--store: the store does not answer"),
        ("x", "--store: the store's URL"),
    ):
        done = place.run(*MINE, "--store", url)
        assert (done.returncode, done.stdout) == (64, "")
        assert words in done.stderr


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">/dev/full", "2>&1 | true"])
def test_nobody_has_to_listen(place: Place, redirection: str) -> None:
    place.write(custom({}))
    script = f"set -o pipefail; batchjob run -f batchjob.yaml --processors mine {redirection}"
    assert place.type("bash", "-c", script).returncode == 0
    assert len(place.lines("results.jsonl")) == 1
