"""The tunnel between a caller's pipes and a Unix socket, as a real process."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.processes import wait_until
from tests.support.stack import program_env


def tunnel(*words):
    """A tunnel with pipes at its ends."""
    command = [sys.executable, "-P", "-m", "memwatch_agent.tunnel", *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=program_env(), stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0
    )


def read(file, count):
    """So many bytes of a pipe."""
    got = b""
    while len(got) < count:
        got += file.read(count - len(got))
    return got


@pytest.fixture
def echo(tmp_path):
    """A socket that sends back what one connection says, in capitals."""
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer():
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data.upper())

        threading.Thread(target=answer, daemon=True).start()
        yield path


def test_connect_carries_both_ways(echo):
    """Megabytes go through unchanged, and the end of the input ends the tunnel."""
    with tunnel("connect", echo) as running:
        data = b"a" * 3_000_000
        writer = threading.Thread(target=running.stdin.write, args=(data,))
        writer.start()
        assert read(running.stdout, len(data)) == data.upper()
        writer.join(10)
        running.stdin.close()
        assert running.wait(10) == 0


def test_listen_takes_one_call(tmp_path):
    """The first caller is joined with the pipes, and the socket's name is gone at once."""
    path = tmp_path / "controller.sock"
    path.touch()  # a tunnel that was killed left its name
    with tunnel("listen", path) as running:
        wait_until(path.is_socket, 10)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.sendall(b"hello")
            assert running.stdout.read(5) == b"hello"
            assert not path.exists()
        assert running.wait(10) == 0


def test_nobody_listens(tmp_path):
    """A socket that is not there is told in one line."""
    with tunnel("connect", tmp_path / "nosuch.sock") as running:
        _, errors = running.communicate(timeout=10)
    assert running.returncode == 1
    assert errors.decode().startswith("cannot open tunnel to '")


def test_wrong_words():
    """Anything else says how it is used."""
    with tunnel("dig", Path("/x")) as running:
        assert b"usage: " in running.communicate(timeout=10)[1]
    assert running.returncode == 2
