"""`statedir.py`: one agent, one directory, one id."""

import os

import pytest

from memwatch_agent.errors import StateDirError
from memwatch_agent.statedir import StateDir, write_atomically


def test_the_id_survives_a_restart(tmp_path):
    """The agent's id is made once and read after that."""
    with StateDir(tmp_path / "state") as state:
        first = state.agent_id()
    with StateDir(tmp_path / "state") as state:
        assert state.agent_id() == first
    assert first.startswith("a-")


@pytest.mark.parametrize("damage", [b"", b"../../etc", b"\xff\xfe", b"a-xyz\n"])
def test_a_damaged_id_is_replaced(tmp_path, damage):
    """A file that holds no id of ours leads to a new id, not to a strange one."""
    (tmp_path / "agent-id").write_bytes(damage)

    with StateDir(tmp_path) as state:
        made = state.agent_id()
        assert made == state.agent_id()
    assert len(made) == 22


def test_two_agents_do_not_share_a_directory(tmp_path):
    """A second agent is refused with the next step while the first one lives."""
    with StateDir(tmp_path), pytest.raises(StateDirError, match="another agent uses it"):
        StateDir(tmp_path).__enter__()
    with StateDir(tmp_path):
        pass


def test_the_directory_is_for_its_owner_alone(tmp_path):
    """Directory and files cannot be read by others."""
    with StateDir(tmp_path / "state") as state:
        state.agent_id()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0
    assert (tmp_path / "state" / "agent-id").stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_used_is_named(tmp_path):
    """A file in the directory's place is refused in one sentence."""
    (tmp_path / "file").touch()

    with pytest.raises(StateDirError, match=r"cannot use state directory '.*file'"):
        StateDir(tmp_path / "file").__enter__()


def test_a_link_in_the_lock_s_place_is_not_followed(tmp_path):
    """A planted link does not make the agent write elsewhere."""
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(StateDirError):
        StateDir(tmp_path).__enter__()
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_old_or_new_and_never_half(tmp_path, monkeypatch):
    """A write that fails leaves the old content and no other file."""
    file = tmp_path / "file"
    write_atomically(file, b"old")

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_atomically(file, b"new")

    assert file.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
