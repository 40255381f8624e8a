"""On a terminal: colours and a bar, unless NO_COLOR says no; tables fit its width."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from memwatch_proto.v1 import sessions_pb2
from tests.fakes.controller import make_target

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(cli, *words, width=100, env=None):
    """What a command writes to a terminal of this width, and its exit code."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    with subprocess.Popen(
        cli.command(*words),
        env={**cli.env, "TERM": "xterm-256color", **(env or {})},
        cwd=cli.home,
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        written = b""
        with contextlib.suppress(OSError):
            while data := os.read(leader, 65536):
                written += data
        os.close(leader)
        return written.decode(), process.wait(60)


@pytest.fixture
def three(fake):
    """A fake controller with three targets."""
    for number in range(3):
        fake.add_target(make_target(number, "a-service-with-quite-a-long-name"))
    return fake


def test_colours(cli, three):
    """A terminal gets colours."""
    text, code = on_terminal(cli, "targets", "list")
    assert code == 0
    assert "\x1b[32m" in text


@pytest.mark.parametrize(
    ("words", "env"), [((), {"NO_COLOR": "1"}), (("--no-color",), {}), ((), {"TERM": "dumb"})]
)
def test_no_colours(cli, three, words, env):
    """NO_COLOR, --no-color and a dumb terminal get none."""
    text, code = on_terminal(cli, *words, "targets", "list", env=env)
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*3\dm", text)


@pytest.mark.parametrize("width", [90, 120, 200])
def test_tables_fit(cli, three, width):
    """No line is wider than the terminal, and no id is cut."""
    text, _ = on_terminal(cli, "targets", "list", width=width)
    lines = ESCAPES.sub("", text).splitlines()
    assert max(map(len, lines)) <= width
    assert all(target_id in text for target_id in three.targets)


def test_bar(cli, fake):
    """A capture shows its phases in a bar that is gone at the end; the report stays."""
    fake.add_target(make_target(1))
    fake.step_seconds = 1.0
    text, code = on_terminal(cli, "capture", "shop", "--timeframe", "1s")

    assert code == 0
    for words in ("capturing before", "waiting, next snapshot in", "comparing the snapshots"):
        assert words in text
    assert "━" in text
    assert "LeakedReport grew by 2,000 objects" in text


def test_ctrl_c_on_a_terminal(cli, fake):
    """The key itself: the session is cancelled, said in one line, exit code 130."""
    fake.add_target(make_target(1))
    fake.hold_at = sessions_pb2.SESSION_STATE_WAITING
    leader, follower = pty.openpty()
    with subprocess.Popen(
        cli.command("capture", "shop", "--timeframe", "1h"),
        env={**cli.env, "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as process:
        os.close(follower)
        written = b""
        pressed = False
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while data := os.read(leader, 65536):
                written += data
                if b"next snapshot in" in written and not pressed:
                    pressed = True
                    os.write(leader, b"\x03")
        os.close(leader)
        assert process.wait(20) == 130
    (session,) = fake.sessions.values()
    assert session.state == sessions_pb2.SESSION_STATE_CANCELLED
    text = ESCAPES.sub("", written.decode())
    assert f"session {session.id} is cancelled; snapshots already taken are kept" in text
    assert "Traceback" not in text
