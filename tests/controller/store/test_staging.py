import subprocess
import sys

from memwatch_controller.store.staging import Staging


def test_leftovers_go_and_files_in_use_stay(tmp_path):
    """What nobody has open is a leftover, whoever made it; a second program takes nothing away."""
    first = Staging(tmp_path / "staging")
    used = first.new(".part")
    (tmp_path / "staging/dead.part").write_bytes(b"x")
    second = Staging(tmp_path / "staging")
    assert second.swept == 1
    assert used.path.exists()
    used.remove()
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_a_killed_program_left_is_a_leftover(tmp_path):
    """The lock ends with its process."""
    code = (
        "import os, sys; from pathlib import Path\n"
        "from memwatch_controller.store.staging import Staging\n"
        "Staging(Path(sys.argv[1])).new('.copy'); os.kill(os.getpid(), 9)"
    )
    env = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert Staging(tmp_path).swept == 1


def test_a_file_that_was_moved_away_is_not_removed(tmp_path):
    """A blob that got its name stays when its part is let go."""
    staged = Staging(tmp_path / "staging").new(".part")
    staged.file.write(b"whole")
    staged.file.close()
    staged.path.rename(tmp_path / "blob")
    staged.remove()
    assert (tmp_path / "blob").read_bytes() == b"whole"
