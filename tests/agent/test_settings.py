"""`settings.py`: flags and their twins, checked once at the start."""

from pathlib import Path

import pytest

from memwatch_agent.errors import SettingsError
from memwatch_agent.settings import Settings, parse, parse_labels, parse_size

LOCAL = ["--insecure-no-auth"]


def settings(argv=(), environ=None) -> Settings:
    return parse([*argv], environ or {"MEMWATCH_TOKEN": "secret"}, "somehost")


def test_the_defaults_are_loopback():
    """Without a flag the agent listens on loopback only and has no controller."""
    parsed = settings()

    assert parsed.listen == "127.0.0.1:9465"
    assert parsed.metrics_listen == "127.0.0.1:9464"
    assert parsed.controller == ""
    assert parsed.token == "secret"
    assert parsed.host == "somehost"
    assert parsed.spool_quota_bytes == 4 * 1024**3


@pytest.mark.parametrize(
    ("flag", "value", "name"),
    [
        ("--listen", "unix:/run/a.sock", "listen"),
        ("--advertise", "10.0.0.1:9465", "advertise"),
        ("--controller", "memwatch.svc:9466", "controller"),
        ("--log-level", "debug", "log_level"),
        ("--metrics-listen", "[::1]:9464", "metrics_listen"),
    ],
)
def test_every_flag_has_a_twin(flag, value, name):
    """A flag and its environment variable say the same; the flag wins."""
    twin = "MEMWATCH_AGENT_" + flag[2:].upper().replace("-", "_")
    environ = {"MEMWATCH_TOKEN": "t", twin: value}

    assert getattr(settings([flag, value]), name) == value
    assert getattr(settings(environ=environ), name) == value
    assert getattr(settings([flag, value], {**environ, twin: "nonsense"}), name) == value


def test_pids_come_from_flags_or_the_twin():
    """`--pid` may be repeated; its twin is split by commas."""
    assert settings(["--pid", "7", "--pid", "8"]).pids == (7, 8)
    assert settings(environ={"MEMWATCH_TOKEN": "t", "MEMWATCH_AGENT_PID": "7,8"}).pids == (7, 8)
    assert settings().pids == ()


def test_metrics_can_be_switched_off():
    """`--metrics-listen off` serves none."""
    assert settings(["--metrics-listen", "off"]).metrics_listen == ""


def test_hook_directories_are_a_list():
    """Several directories of hooks are split by colons, and MEMWATCH_HOOK_DIR is one."""
    assert settings(["--hook-dir", "/a:/b"]).hook_dirs == (Path("/a"), Path("/b"))
    environ = {"MEMWATCH_TOKEN": "t", "MEMWATCH_HOOK_DIR": "/c"}
    assert settings(environ=environ).hook_dirs == (Path("/c"),)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:9465", "[::1]:9465", "unix:/a"])
def test_no_token_is_needed_where_nobody_else_can_call(listen):
    """`--insecure-no-auth` is taken on loopback and on a Unix socket."""
    assert parse([*LOCAL, "--listen", listen], {}, "h").token == ""


@pytest.mark.parametrize("listen", ["0.0.0.0:9465", "10.1.2.3:9465", "[::]:9465", "web:9465"])
def test_no_token_is_refused_on_an_open_address(listen):
    """`--insecure-no-auth` is refused where others can call."""
    with pytest.raises(SettingsError, match="needs a loopback address"):
        parse([*LOCAL, "--listen", listen], {}, "h")


def test_the_token_file_wins_over_the_variable(tmp_path):
    """A token file named by flag is used before MEMWATCH_TOKEN."""
    file = tmp_path / "token"
    file.write_text("from file\n")

    assert settings(["--token-file", str(file)]).token == "from file"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--listen", "9465"], "cannot use --listen '9465': write host:port or unix:/path"),
        (["--listen", "a:99999"], "cannot use --listen 'a:99999'"),
        (["--controller", "http://x"], "cannot use --controller"),
        (["--spool-quota", "lots"], "cannot use --spool-quota 'lots': it is no size"),
        (["--spool-quota", "0"], "it is no size"),
        (["--pid", "x"], "cannot use --pid 'x': it is no pid"),
        (["--pid", "0"], "it is no pid"),
        (["--log-level", "loud"], "it is none of debug, info, warning, error"),
        (["--tls-cert", "/none"], "--tls-cert and --tls-key go together"),
        (["--tls-ca", "/none"], "cannot use --tls-ca '/none': it cannot be read"),
        (["--token-file", "/none"], "cannot use --token-file '/none': No such file"),
        (["--labels", "app"], "write for example app=web"),
    ],
)
def test_a_bad_value_is_named_with_its_cause(argv, message):
    """Whatever cannot be used is refused with the flag, the value and the cause."""
    with pytest.raises(SettingsError) as error:
        settings(argv)

    assert message in str(error.value)


def test_a_start_without_a_token_says_what_to_do():
    """An agent without token and without permission to go without does not start."""
    with pytest.raises(SettingsError, match="there is no token"):
        parse([], {}, "h")


def test_an_unknown_flag_is_one_line_and_exit_code_2(capsys):
    """Argparse's own errors take one line too."""
    with pytest.raises(SystemExit) as stopped:
        settings(["--nope"])

    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1k", 1000), ("1KiB", 1024), ("4 GiB", 4 * 1024**3), ("5MB", 5_000_000)],
)
def test_sizes(text, size):
    """Sizes are bytes, or carry a decimal or binary unit."""
    assert parse_size("--x", text) == size


def test_labels():
    """Labels are pairs split by commas."""
    assert parse_labels("--labels", "app=web, tier=front,empty=") == {
        "app": "web",
        "tier": "front",
        "empty": "",
    }
