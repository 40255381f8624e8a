import pytest

from memwatch_controller.errors import StartError
from memwatch_controller.worker_settings import parse

SHARED = ["--database-url", "postgresql://u:secret@h/db", "--blob-url", "s3://b/p"]


def test_the_controllers_environment_serves_a_worker():
    """Flags and twins are the controller's; a flag is stronger."""
    environ = {
        "MEMWATCH_CONTROLLER_DATABASE_URL": "postgresql://h/db",
        "MEMWATCH_CONTROLLER_BLOB_URL": "gs://b",
        "MEMWATCH_CONTROLLER_ANALYSIS_WORKERS": "3",
    }
    settings = parse(["--blob-url", "s3://b"], environ, "w-1")
    assert (settings.database_url, settings.blob_url) == ("postgresql://h/db", "s3://b")
    assert (settings.analyses, settings.http_listen, settings.name) == (3, "", "w-1")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "queue in PostgreSQL"),
        (["--database-url", "sqlite:///x", *SHARED[2:]], "sqlite://….*queue in PostgreSQL"),
        (SHARED[:2], "store that all machines see"),
        ([*SHARED[:2], "--blob-url", "file:///x"], "store that all machines see"),
        ([*SHARED, "--analysis-workers", "0"], "from 1 to 64"),
    ],
)
def test_what_other_machines_do_not_see_is_refused(argv, said):
    """A database or store of one machine: what is needed is named, and no password told."""
    with pytest.raises(StartError, match=said) as caught:
        parse(argv, {}, "w-1")
    assert "secret" not in str(caught.value)
