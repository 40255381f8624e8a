import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memwatch_controller.analysis.jobs import Comparison, Job, JobFailedError, JobSnapshot, Totals
from memwatch_controller.analysis.runner import Limits, Runner
from memwatch_controller.model import AnalysisProgress
from memwatch_heap.testing import HeapBuilder
from tests.support.processes import wait_until

GIB = 1024**3


def heap(path: Path, reports: int, *, first_id: int = 1001, ballast: int = 50) -> JobSnapshot:
    """A heap file with so many Reports of 64 bytes, and Ballast that stays."""
    built = HeapBuilder()
    for number in range(ballast):
        built.node("object", "Ballast", size=32, node_id=100_001 + 2 * number, held_by=0)
    for number in range(reports):
        built.node("object", "Report", size=64, node_id=first_id + 2 * number, held_by=0)
    path.write_bytes(built.text())
    return JobSnapshot(path.stem, str(path), "epoch")


def job(*snapshots: JobSnapshot, memory_bytes: int = GIB, max_classes: int = 500) -> Job:
    return Job(snapshots, memory_bytes, max_classes)


def script(tmp_path: Path, text: str) -> tuple[str, ...]:
    """A worker that does something else; it logs each start."""
    path = tmp_path / "worker.py"
    started = f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\n"
    path.write_text("import os, signal, sys, time\n" + started + text)
    return (sys.executable, str(path))


async def test_a_worker_compares_first_and_last_and_totals_all(tmp_path):
    """Counts, sizes, new and gone by id; the middle snapshot adds its totals."""
    found = await Runner(Limits()).run(
        job(
            heap(tmp_path / "a", 10),
            heap(tmp_path / "b", 20),
            heap(tmp_path / "c", 25, first_id=1003),  # the first Report is gone, 16 came
        )
    )
    assert found.by_id
    assert found.totals == (Totals(60, 2240), Totals(70, 2880), Totals(75, 3200))
    (report, ballast) = found.classes
    assert (report.class_name, report.count_before, report.count_after) == ("Report", 10, 25)
    assert (report.new_count, report.gone_count) == (16, 1)
    assert (report.new_size_bytes, report.gone_size_bytes) == (16 * 64, 64)
    assert (ballast.class_name, ballast.size_delta, found.class_count) == ("Ballast", 0, 2)


async def test_progress_is_told_as_it_is_made(tmp_path):
    """Each percent at most once, rising, with words; the answer is none of it."""
    told: list[AnalysisProgress] = []
    snapshots = (heap(tmp_path / "a", 10), heap(tmp_path / "b", 20))
    found = await Runner(Limits()).run(job(*snapshots), told.append)
    percents = [progress.done_percent for progress in told]
    assert found.class_count == 2
    assert percents == sorted(set(percents))
    assert len(percents) > 3
    assert all(progress.doing for progress in told)


async def test_ids_of_two_epochs_are_not_compared(tmp_path):
    """Where the runtime numbered its objects anew, new and gone are the net change."""
    after = heap(tmp_path / "c", 25, first_id=90_001)
    other = JobSnapshot(after.id, after.path, "")
    found = await Runner(Limits()).run(job(heap(tmp_path / "a", 10), other, max_classes=1))
    (report,) = found.classes
    assert (found.by_id, report.new_count, report.gone_count) == (False, 15, 0)
    assert found.verdict is not None
    assert found.verdict["told_by"] == "place"
    assert "told by the way" in found.notes[0]


def leaking(path: Path, reports: int) -> JobSnapshot:
    """A heap whose global cache, a Map, holds so many Reports."""
    built = HeapBuilder()
    window = built.node("object", "global", size=32, node_id=3, held_by=0)
    cache = built.node("object", "Map", size=32, node_id=5)
    built.edge(window, "property", "cache", cache)
    table = built.node("array", "", size=8 * reports, node_id=7)
    built.edge(cache, "internal", "table", table)
    for number in range(reports):
        report = built.node("object", "Report", size=64, node_id=1001 + 2 * number)
        built.edge(table, "internal", str(number), report)
    path.write_bytes(built.text())
    return JobSnapshot(path.stem, str(path), "epoch", seconds=reports)


async def test_a_worker_says_what_leaks(tmp_path):
    """The verdict comes with its evidence, and names snapshots by their ids."""
    found = await Runner(Limits()).run(
        job(leaking(tmp_path / "a", 1000), leaking(tmp_path / "b", 1400))
    )
    assert found.notes == ()
    assert found.verdict is not None
    assert found.verdict["verdict"] == "leaking"
    assert [facts["name"] for facts in found.verdict["snapshots"]] == ["a", "b"]
    (suspect,) = found.verdict["suspects"]
    assert (suspect["object_class"], suspect["new_count"]) == ("Report", 400)
    assert suspect["per_second"] == 1.0
    assert "cache" in suspect["path"]


async def test_a_file_that_is_no_heap_fails_with_its_name(tmp_path):
    """The engine's own sentence is what the caller gets, and the worker is not started again."""
    (tmp_path / "bad").write_bytes(b'{"snapshot": nonsense')
    bad = JobSnapshot("n-bad", str(tmp_path / "bad"), "")
    with pytest.raises(JobFailedError, match="cannot read heap snapshot 'n-bad'"):
        await Runner(Limits()).run(job(heap(tmp_path / "a", 1), bad))


async def test_a_killed_worker_is_started_once_more(tmp_path):
    """The first death is forgiven; the second worker's answer counts."""
    worker = script(
        tmp_path,
        f"if len(open({str(tmp_path / 'starts')!r}).read()) == 1: os.kill(os.getpid(), 9)\n"
        "from memwatch_controller.analysis.worker import main; sys.exit(main())",
    )
    found = await Runner(Limits(), worker).run(
        job(heap(tmp_path / "a", 1), heap(tmp_path / "b", 2))
    )
    assert found.totals[1].object_count == 52
    assert (tmp_path / "starts").read_text() == "xx"


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("sys.exit('bang')", "exit code 1 bang"),
        ("print('no json')", "exit code 0"),
        ("print('[]')", "exit code 0"),
        ("print('{\"comparison\": {}}')", "exit code 0"),
    ],
)
async def test_a_worker_that_dies_twice_fails_clearly(tmp_path, end, words):
    """Two deaths: how it died, and no third try."""
    with pytest.raises(JobFailedError, match="died twice") as caught:
        await Runner(Limits(), script(tmp_path, end)).run(job())
    assert words in str(caught.value)
    assert (tmp_path / "starts").read_text() == "xx"


async def test_time_is_limited(tmp_path):
    """A worker that takes too long is killed, and not started again."""
    worker = script(tmp_path, "time.sleep(1000)")
    with pytest.raises(JobFailedError, match="not done after 1 s"):
        await Runner(Limits(seconds=1), worker).run(job())
    assert (tmp_path / "starts").read_text() == "x"


async def test_memory_is_limited(tmp_path):
    """A job beyond its memory fails with the limit; the controller is not touched."""
    worker = script(
        tmp_path,
        "from memwatch_controller.analysis import compare, worker\n"
        "compare.compare = lambda job, tell: bytearray(1 << 34)\n"
        "sys.exit(worker.main())",
    )
    with pytest.raises(JobFailedError, match="more than the 1,000 bytes"):
        await Runner(Limits(), worker).run(job(memory_bytes=1_000))


async def test_no_more_workers_run_than_allowed(tmp_path):
    """The third job waits for one of the two places."""
    worker = script(
        tmp_path,
        f"d = {str(tmp_path)!r}\n"
        "me = f'{d}/run-{os.getpid()}'; open(me, 'w'); time.sleep(0.3)\n"
        "n = len([f for f in os.listdir(d) if f.startswith('run-')]); os.unlink(me)\n"
        'print(\'{"failure": "%d at once"}\' % n)',
    )
    runner = Runner(Limits(workers=2), worker)
    ends = await asyncio.gather(*(runner.run(job()) for _ in range(4)), return_exceptions=True)
    assert max(str(end) for end in ends) <= "2 at once"


async def test_a_cancelled_job_kills_its_worker(tmp_path):
    """Nobody waits any more: the process is gone when the cancel is through."""
    pid_file = tmp_path / "pid"
    worker = script(
        tmp_path, f"open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    )
    task = asyncio.create_task(Runner(Limits(), worker).run(job()))
    async with asyncio.timeout(20):
        while not (pid_file.exists() and pid_file.read_text()):  # noqa: ASYNC110  a process
            await asyncio.sleep(0.02)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert _is_gone(int(pid_file.read_text()))


async def test_a_verdict_that_breaks_off_costs_nothing_else(tmp_path):
    """A bug in the search for suspects leaves the figures, and a note."""
    worker = script(
        tmp_path,
        "from memwatch_controller.analysis import worker\n"
        "from memwatch_heap import comparison\n"
        "comparison.examine = lambda *a: 1 / 0\n"
        "sys.exit(worker.main())",
    )
    found = await Runner(Limits(), worker).run(
        job(heap(tmp_path / "a", 10), heap(tmp_path / "b", 20))
    )
    assert found.classes[0].new_count == 10
    assert found.notes == ("there is no verdict: ZeroDivisionError while looking for it",)


def test_a_worker_dies_with_the_controller(tmp_path):
    """Killed with -9, a controller leaves no worker behind."""
    starter = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'memwatch_controller.analysis.worker'],"
        " stdin=subprocess.PIPE)\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(1000)"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    parent = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: _is_gone(worker), what=f"worker {worker} ends with its controller")


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_the_controller_side_never_imports_numpy():
    """Reading answers costs the controller neither numpy nor numba."""
    code = (
        "import sys, memwatch_controller.analysis.runner, memwatch_controller.analysis.document, "
        "memwatch_controller.reports; sys.exit(bool({'numpy', 'numba'} & set(sys.modules)))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert subprocess.run([sys.executable, "-c", code], env=env).returncode == 0


def test_answers_survive_the_way():
    """What a worker answers is what the runner reads."""
    from memwatch_controller.analysis import jobs

    found = Comparison(True, (Totals(1, 2),), (), 0)
    assert jobs.load_answer(jobs.dump_answer(found)) == found
    some = job(JobSnapshot("a\n☃", "/p", ""))
    assert jobs.load_job(jobs.dump_job(some)) == some
