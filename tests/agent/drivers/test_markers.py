"""`drivers/markers.py`: what was opened is remembered on disk."""

from memwatch_agent.drivers import markers


def test_a_marker_is_found_again(tmp_path):
    """Written, listed, removed; other files are not markers."""
    marker = markers.marker(tmp_path, 12, 345)
    assert not marker.exists
    assert marker.written_seconds == 0
    marker.write()
    (tmp_path / "inspector-x-1").touch()
    (tmp_path / "agent-id").touch()

    assert list(markers.leftovers(tmp_path)) == [marker]
    assert marker.exists
    assert marker.written_seconds > 0
    marker.remove()
    marker.remove()
    assert list(markers.leftovers(tmp_path)) == []


def test_a_directory_that_is_missing_holds_none(tmp_path):
    """An agent that never captured has nothing to shut."""
    assert list(markers.leftovers(tmp_path / "missing")) == []
