"""One heap snapshot, seen from the app: fork, watch the child, report what it cost.

The app pauses for the collection (if asked for), a list of its objects and the fork; the rest is
the child's.
"""

from __future__ import annotations

import _socket
import gc
import os
import sys
import time
import warnings
from _signal import SIGALRM, SIGKILL  # type: ignore[import-not-found]
from _thread import get_ident
from importlib import import_module

from . import _sites, pace, tracing, v8format, walker, ways, wire
from .holding import Holding
from .options import DUMP, HeapOptions
from .originals import fork, waitpid
from .spool import open_spool
from .status import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from . import outlet
    from .spool import Spool

if walker.IN_C is None:  # now, on the app's main thread: no fork may find an import half done
    import_module("memwatch_hook.child")
    import_module("memwatch_hook.outlet")

IDLE_TICK_MILLIS = 500  # how often a running child is looked after
GRACE_SECONDS = 5  # a child ends itself at its deadline, and says so; later it is killed
WAIT_FOR_CLONES = 0x40000000  # __WALL: a child without an exit signal is waited for, too
RELEASE_BATCH = 10_000  # references given back at once: about a millisecond

_chunks = v8format.ChunkNumbers()


class _Experience:
    """What earlier snapshots of this process teach the next one."""

    def __init__(self) -> None:
        self.objects: int | None = None  # in the last one
        self.walk_millis = 0.0  # of the child's CPU, in the last one
        self.rates = ways.Rates()
        self.may_shield = True  # no child has crashed that lacked large payloads


_experience = _Experience()

# The snapshot whose child is being forked, by thread: our after-fork callback, which runs before
# the app's own, turns exactly that child into a walker.
_forking: dict[int, Snapshot] = {}


def become_child() -> None:
    """To be called first thing in any forked child: does not return in one of ours."""
    snapshot = _forking.get(get_ident())
    _forking.clear()
    if snapshot is not None:
        snapshot.walk()


class Snapshot:
    """A running snapshot; its owner polls `status` and asks whether it has `ended`.

    The artifact goes onto the connection as it is made, or into `spool`.
    """

    def __init__(self, connection: _socket.socket, request: wire.Request) -> None:
        """Reads the request's options.

        Raises:
            RequestError: one is wrong.
        """
        self.spool: Spool | None = None
        self.deadline = 0.0
        self._options = HeapOptions(request.options)
        self._connection = connection
        self._request = request
        self._status: Status | None = None
        self._pid = 0
        self._gone = False
        self._wait_status: int | None = None
        self._pause_millis = 0.0
        self._cpu_millis = 0.0
        self._rss: int | None = None
        self._copied = 0  # what a clone would copy: ways.copied_bytes
        self._notes = [f"walker: {walker.kind()}"]
        self._order: walker.Order | None = None
        self._way = ways.FORK if walker.IN_C is None else ways.CLONE
        self._shielded = 0  # bytes that are, or may be, left out of the clone
        self._here: dict[str, Any] | None = None  # what a walk in place has found
        self._holding: Holding | None = None
        self._deadline_seconds = -(-self._options.deadline_millis // 1000)
        self._frames_traced = 0  # of a stack, where the dump is to say where objects were allocated

    def start(self) -> None:
        """Forks the child.

        Raises:
            RequestError: there is no file or no process to be had.
        """
        cpu_began = time.thread_time()
        try:
            self._status = Status()
            if self._options.format == DUMP:
                self._open_spool()
            if self._options.collect:
                collecting = self._timed(gc.collect)[1]
                self._notes.append(f"collected first: {collecting:.1f} ms of the pause")
            self._rss, self._copied = _resident_bytes()
            self._begin()
            self._status.close_writer()
        except OSError as cause:
            self.close()
            raise wire.RequestError(
                wire.FAILED, f"cannot fork the app: {cause.strerror}"
            ) from cause
        finally:
            self._cpu_millis = (time.thread_time() - cpu_began) * 1000
            self._release()
        self.deadline = time.monotonic() + self._deadline_seconds + GRACE_SECONDS
        self.look_after()

    def walk(self) -> None:
        """The child's life."""
        assert self._order is not None and self._status is not None
        from . import child  # loaded above, where it is needed

        seconds = self._deadline_seconds
        child.run(self._order, self._outlet, self._kept(), self._status.writer, seconds)

    @property
    def status(self) -> int:
        """A descriptor: readable when the child has something to say or has ended."""
        return -1 if self._status is None else self._status.reader

    def ended(self) -> bool:
        """Takes in what the child has said so far; whether it has ended."""
        assert self._status is not None
        return self._here is not None or self._status.hear() or not self.alive()

    def progress(self) -> bytes:
        """The PROGRESS frame of what the child has told since the last call; may be empty."""
        said = self._status.progress() if self._status is not None else None
        return b"" if said is None else wire.progress(self._request.id, *said)

    @property
    def tick_millis(self) -> int:
        """How soon the child is to be looked after again."""
        return IDLE_TICK_MILLIS if self._holding is None else 0

    def look_after(self) -> None:
        """Holds the app back where it writes too fast. The child has not ended."""
        if self._holding is not None:
            self._holding.go_on()

    def alive(self) -> bool:
        """Whether the child still runs (or has not been waited for)."""
        return self._pid != 0 and not self._reap(os.WNOHANG)

    def kill(self) -> None:
        """Ends the child, if it is still ours."""
        if self.alive():
            try:
                os.kill(self._pid, SIGKILL)
            except OSError:
                pass

    def result(self) -> dict[str, Any]:
        """What the snapshot was and cost, once the child has ended.

        Raises:
            RequestError: `CHILD_FAILED`: the child died, or said what it died of.
        """
        self._reap(0)
        facts = self._facts() if self._here is None else self._here
        if self._options.trace is not None:
            said = tracing.lease.follow(self._options.trace)
            self._notes += [said] if said else []
        _chunks.learn(facts["chunks"])
        _experience.objects = facts["objects"]
        _experience.walk_millis = facts["cpu_millis"]
        _experience.rates.learn_walk(facts["objects"], facts["cpu_millis"])
        self._tell_holding()
        dumped = {}
        if self.spool is not None:
            dumped = {
                "format": DUMP,
                "heap_bytes": facts["heap_bytes"],
                "rss_bytes": self._rss,
                "way": self._way,
                "walk_millis": round(facts["cpu_millis"], 3),
            }
        return {
            "size_bytes": facts["size_bytes"],
            "objects": facts["objects"],
            "pause_millis": round(self._pause_millis, 3),
            "cpu_millis": round(self._cpu_millis + facts["cpu_millis"], 3),
            "extra_memory_bytes": _known(facts["extra_memory_bytes"]),
            "notes": self._notes,
            **dumped,
        }

    def close(self) -> None:
        """Ends the child and waits for it: nothing of the snapshot is left. At any time."""
        if self._options.trace is not None and not self._options.trace.seconds:
            tracing.lease.end()
        self.kill()
        self._reap(0)
        if self._status is not None:
            self._status.close()
        if self.spool is not None:
            self.spool.close()

    def forget(self) -> None:
        """In another forked child of the app: lets go of what is the parent's."""
        self._gone = True
        self.close()

    @property
    def late(self) -> bool:
        """Whether the child has taken longer than it may."""
        return time.monotonic() > self.deadline

    @property
    def left_half_frame(self) -> bool:
        """Whether the child died within a frame: then its connection is of no more use."""
        return self._status is not None and self._status.cut_frame

    def _open_spool(self) -> None:
        try:
            self.spool = open_spool(self._options.max_bytes)
        except OSError as cause:
            self.close()
            raise wire.RequestError(
                wire.FAILED, f"cannot open a file for the dump: {cause.strerror}"
            ) from cause

    def _outlet(self) -> outlet.File | outlet.Frames:
        from . import outlet

        assert self._status is not None
        if self.spool is not None:
            return outlet.File(self.spool, self._status.writer)
        return outlet.Frames(self._connection, self._status.writer, self._request.id)

    def _kept(self) -> set[int]:
        """The descriptors that the child needs besides its status."""
        return {self._connection.fileno() if self.spool is None else self.spool.descriptor}

    def _begin(self) -> None:
        """Takes the way with the shortest pause.

        Raises:
            OSError: there is no process to be had. RuntimeError: nor a walk in place.
        """
        if self._options.sites and self.spool is not None:
            self._frames_traced = _sites.frames_traced()
        if walker.IN_C is None:
            self._pid = self._fork_child()
            self._tell_sites(self._frames_traced > 0)
            return
        # A walk in place would read the table of traces while other threads change it.
        if not self._frames_traced and self._in_place_is_shorter() and self._walk_here(None):
            return
        try:
            self._pid = self._clone_child()
        except OSError as cause:  # as by a seccomp filter, or a limit of processes
            if self.spool is None:
                raise
            self._notes.append(f"no clone is to be had: {cause.strerror}")
            if not self._walk_here(cause):
                raise

    def _in_place_is_shorter(self) -> bool:
        assert walker.IN_C is not None
        if self.spool is None or self._copied < ways.MIN_WEIGHED_BYTES:
            return False
        if _experience.may_shield:
            self._shielded, huge = walker.IN_C.find_payloads(self._options.strings == 0)
            self._copied = ways.copied_bytes(self._copied, huge, self._shielded)
        objects = _experience.objects
        if objects is None:
            objects = sys.getallocatedblocks()
        return _experience.rates.in_place_is_shorter(self._copied, objects)

    def _walk_here(self, cause: OSError | None) -> bool:
        """Walks in the app itself; whether it was finished within the time for it.

        `cause`: why there is no other way.
        """
        limit = ways.MAX_IN_PLACE_MILLIS
        if cause is None:
            limit = _experience.rates.clone_millis(self._copied)
        frames = self._frames()
        began = time.thread_time()
        try:
            facts, millis = walker.walk_here(frames, _chunks, self._target(), self._options, limit)
        except RuntimeError as failure:
            self._pause_millis += limit
            self._notes.append(f"not walked in place: {failure}")
            self._restart_spool()
            return False
        self._way = ways.IN_PLACE
        if self._frames_traced:
            self._notes.append("no allocation sites: walked in place")
        self._pause_millis += millis
        spent = (time.thread_time() - began) * 1000
        self._here = {**facts, "cpu_millis": spent, "extra_memory_bytes": None}
        return True

    def _clone_child(self) -> int:
        self._tell_sites(self._frames_traced > 0 and walker.use_sites())
        expected = self._shielded
        pid, millis, cpu_millis, self._shielded = walker.clone(
            self._frames(), _chunks, self._target(), self._options, self._deadline_seconds
        )
        self._begin_holding(pid)
        self._pause_millis += millis
        copied = self._copied + max(0, expected - self._shielded)
        _experience.rates.learn_clone(copied, cpu_millis)
        if self._shielded:
            self._notes.append(
                f"left out of the clone: {self._shielded >> 20} MiB of large bytes and str"
            )
        return pid

    def _tell_sites(self, told: bool) -> None:
        if told:
            frames = self._frames_traced
            self._notes.append(f"allocation sites: tracemalloc is on, with {frames} frames")
        elif self._frames_traced:
            self._notes.append("no allocation sites: the walker does not find tracemalloc's table")

    def _frames(self) -> dict[int, FrameType]:
        frames = sys._current_frames()
        frames.pop(get_ident(), None)
        return frames

    def _target(self) -> walker.Target:
        assert self._status is not None
        [output] = self._kept()
        limit = 0 if self.spool is None else self.spool.limit
        extra = pace.limit(self._rss, self._options.max_extra_bytes)
        return walker.Target(output, self._status.writer, limit, self._shielded > 0, extra)

    def _begin_holding(self, pid: int) -> None:
        if self._rss is None or self.spool is None:  # a reader who is slow may not hold the app
            return
        objects = _experience.objects or sys.getallocatedblocks()
        walk = _experience.walk_millis or pace.WALK_MILLIS_PER_OBJECT * objects
        limit = pace.limit(self._rss, self._options.max_extra_bytes)
        self._holding = Holding(pid, self.status, pace.Pace(self._rss, limit, walk))

    def _tell_holding(self) -> None:
        if self._holding is not None and self._holding.note:
            self._notes.append(self._holding.note)
            self._pause_millis = max(self._pause_millis, self._holding.longest_millis)

    def _restart_spool(self) -> None:
        assert self.spool is not None
        os.lseek(self.spool.descriptor, 0, os.SEEK_SET)
        os.ftruncate(self.spool.descriptor, 0)

    def _fork_child(self) -> int:
        frames, me = self._frames(), get_ident()
        # The list keeps alive in the child what other threads' states held: the interpreter clears
        # those right after a fork, and a database connection that is thus deleted says good-bye to
        # its server on the descriptor it shares with the app's.
        objects, _ = self._timed(gc.get_objects)
        self._order = walker.Order(
            objects,
            frames,
            walker.thread_names(),
            _chunks,
            [],
            self._options,
            self._frames_traced > 0,
        )
        _expect_fork_warning()
        _forking[me] = self
        pid: int
        try:
            pid, _ = self._timed(fork)
        finally:
            _forking.pop(me, None)
        if pid == 0:  # the after-fork callback was not called
            self.walk()
        return pid

    def _timed(self, call: Callable[[], Any]) -> tuple[Any, float]:
        """Does what stops the app, and adds its time to the pause: the answer, the milliseconds.

        Only such calls are counted: between them the app's threads run.
        """
        began = time.perf_counter()
        answer = call()
        millis = (time.perf_counter() - began) * 1000
        self._pause_millis += millis
        return answer, millis

    def _release(self) -> None:
        order, self._order = self._order, None
        if order is not None:
            order.frames.clear()
            while order.objects:
                del order.objects[-RELEASE_BATCH:]

    def _reap(self, flags: int) -> bool:
        """Waits for exactly our child; whether it is gone. The app's own `wait()` may be faster."""
        if self._gone or not self._pid:
            return True
        try:
            pid, status = waitpid(self._pid, flags | WAIT_FOR_CLONES)
        except ChildProcessError:
            self._gone = True
            return True
        if pid:
            self._gone, self._wait_status = True, status
        return self._gone

    def _facts(self) -> dict[str, Any]:
        assert self._status is not None
        self._status.hear()
        facts = self._status.last_words
        if "failure" in facts:
            if self._shielded:
                _experience.may_shield = False
            raise wire.RequestError(wire.CHILD_FAILED, f"cannot walk the heap: {facts['failure']}")
        if "objects" not in facts:
            raise wire.RequestError(
                wire.CHILD_FAILED, f"cannot walk the heap: the child {self._ending()}"
            )
        return facts

    def _ending(self) -> str:
        status = self._wait_status
        if status is None:
            return "ended, and the app itself waited for it"
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGALRM:
            return f"took longer than {self._deadline_seconds} s, all it may take"
        if os.WIFSIGNALED(status):
            return f"was killed by signal {os.WTERMSIG(status)}"
        return f"ended with status {os.WEXITSTATUS(status)}"


def _expect_fork_warning() -> None:
    """Python 3.12 warns of forks in processes with threads; this child knows what it may not do."""
    warnings.filterwarnings(
        "ignore", category=DeprecationWarning, module=r"memwatch_hook\.snapshot\Z"
    )


def _resident_bytes() -> tuple[int | None, int]:
    """What the app has in memory, and what of it a clone copies the tables of: not files."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            _, resident, shared = map(int, statm.read().split()[:3])
    except (OSError, ValueError):
        return None, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return resident * page, (resident - shared) * page


def _known(amount: int | None) -> int | None:
    return None if amount is None or amount < 0 else amount
