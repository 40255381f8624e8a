from pathlib import Path

import pytest

from memwatch_controller.errors import StartError
from memwatch_controller.settings import parse


def test_defaults(tmp_path):
    """Without any flag: loopback, SQLite and a folder, one token in the data directory."""
    settings = parse(["--data-dir", str(tmp_path)], {}, "host-1")

    assert settings.listen == "127.0.0.1:9466"
    assert settings.http_listen == "127.0.0.1:9467"
    assert settings.token_file == tmp_path / "token"
    assert (settings.database_url, settings.blob_url) == ("", "")
    assert settings.host == "host-1"


def test_a_flag_wins_over_its_twin(tmp_path):
    """Every flag has a twin in the environment, and the flag is stronger."""
    environ = {
        "MEMWATCH_CONTROLLER_LISTEN": "127.0.0.1:1",
        "MEMWATCH_CONTROLLER_HTTP_LISTEN": "off",
        "MEMWATCH_CONTROLLER_DATA_DIR": str(tmp_path),
        "MEMWATCH_TOKEN": "abc",
        "POD_NAME": "memwatch-0",
    }
    settings = parse(["--listen", "unix:/x"], environ, "host-1")

    assert settings.listen == "unix:/x"
    assert settings.http_listen == ""
    assert settings.data_dir == Path(tmp_path)
    assert settings.token == "abc"
    assert settings.host == "memwatch-0"


def test_namespaces(tmp_path):
    """The namespaces of services are read by comma, each once; none means all."""
    flags = ["--data-dir", str(tmp_path)]
    assert parse(flags, {}, "h").namespaces == ()
    assert parse([*flags, "--namespaces", "shop, pay,shop,"], {}, "h").namespaces == ("shop", "pay")


@pytest.mark.parametrize(
    "argv",
    [
        ["--listen", "nope"],
        ["--listen", "host:99999"],
        ["--http-listen", "unix:"],
        ["--log-level", "loud"],
        ["--max-sessions", "0"],
        ["--namespaces", "shop,../pay"],
        ["--namespaces", ",".join(f"n{number}" for number in range(51))],
        ["--heartbeat-seconds", "x"],
        ["--tls-cert", "/nowhere"],
        ["--tls-cert", "/nowhere", "--tls-key", "/nowhere"],
        ["--insecure-no-auth", "--listen", "0.0.0.0:9466"],
        ["--insecure-no-auth", "--http-listen", "10.0.0.1:9467"],
    ],
)
def test_what_cannot_be_used_is_named(argv):
    """A bad value is one sentence with the value in it."""
    with pytest.raises(StartError, match="cannot start the controller with") as caught:
        parse(argv, {}, "h")
    assert "\n" not in str(caught.value)


def test_an_unknown_flag_is_one_line(capsys):
    """A flag that does not exist ends the program with 2 and one line."""
    with pytest.raises(SystemExit) as caught:
        parse(["--bogus"], {}, "h")
    assert caught.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
