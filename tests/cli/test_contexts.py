"""Which controller is meant, from flag, environment, context and machine, and its token."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatchctl import contexts
from memwatchctl.contexts import Config, Context
from memwatchctl.errors import ContextError
from memwatchctl.options import Globals

STAGING = Context("staging:1", "/staging.token", "/staging.pem")
CONFIG = Config("staging", {"staging": STAGING, "web": Context(dashboard_url="http://web:9467")})


@pytest.mark.parametrize(
    ("flags", "env", "controller"),
    [
        ({}, {}, "staging:1"),
        ({"controller": "flag:1"}, {"MEMWATCH_CONTROLLER": "env:1"}, "flag:1"),
        ({}, {"MEMWATCH_CONTROLLER": "env:1"}, "env:1"),
        ({"context": "web"}, {}, "web:9466"),
        ({"context": "web"}, {"MEMWATCH_CONTROLLER": "env:1"}, "env:1"),
        ({}, {"MEMWATCH_CONTEXT": "web"}, "web:9466"),
        ({}, {"MEMWATCH_DASHBOARD_URL": "https://dash:443/x"}, "dash:9466"),
        ({}, {"MEMWATCH_DASHBOARD_URL": "http://[::1]:9467"}, "[::1]:9466"),
    ],
)
def test_which_controller(flags, env, controller):
    """A flag beats the environment, the environment beats the context."""
    assert contexts.resolve(Globals(**flags), env, CONFIG).controller == controller


def test_this_machine_by_default():
    """Without flag, environment and context it is this machine's controller."""
    assert contexts.resolve(Globals(), {}, Config()).controller == "127.0.0.1:9466"


@pytest.mark.parametrize(
    ("flags", "env", "token", "file"),
    [
        ({}, {}, "", Path("/staging.token")),
        ({}, {"MEMWATCH_TOKEN": "t"}, "t", None),
        ({}, {"MEMWATCH_TOKEN_FILE": "/env"}, "", Path("/env")),
        ({"token_file": "/flag"}, {"MEMWATCH_TOKEN": "t"}, "", Path("/flag")),
    ],
)
def test_which_token(flags, env, token, file):
    """The token follows the same order."""
    found = contexts.resolve(Globals(**flags), env, CONFIG)
    assert (found.token, found.token_file) == (token, file)


def test_a_token_never_goes_to_a_stranger():
    """A controller named by flag gets neither the current context's token nor its CA."""
    found = contexts.resolve(Globals(controller="elsewhere:1"), {}, CONFIG)
    assert (found.token, found.token_file, found.tls_ca) == ("", None, "")


@pytest.mark.parametrize(
    ("controller", "offered"),
    [
        ("127.0.0.1:9466", True),
        ("unix:/c.sock", True),
        ("localhost:1", True),
        ("10.0.0.1:9466", False),
    ],
)
def test_local_token_stays_on_this_machine(controller, offered, tmp_path, monkeypatch):
    """The local controller's token file is found by itself, for this machine only."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    token = contexts.local_data_dir() / "token"
    token.parent.mkdir(parents=True)
    token.write_text("t")
    found = contexts.resolve(Globals(controller=controller), {}, Config())
    assert found.token_file == (token if offered else None)


def test_unknown_context():
    """A context that does not exist is named, with those that do."""
    with pytest.raises(
        ContextError, match="'nosuch': there is no such context; known: staging, web"
    ):
        contexts.resolve(Globals(context="nosuch"), {}, CONFIG)


names = st.text("abcdefghijklmnop.-", min_size=1, max_size=20)
values = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=40)


@given(st.dictionaries(names, st.builds(Context, values, values, values, values), max_size=4))
def test_saved_and_loaded(tmp_path_factory, known):
    """What is saved is loaded again, by its owner only."""
    path = tmp_path_factory.mktemp("config") / "deep" / "config.yaml"
    config = Config(next(iter(known), ""), known)
    contexts.save(path, config)
    assert contexts.load(path) == config
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    "text", ["[]", "contexts: 5", "contexts: {a: 5}", "contexts: {a: {x: y}}", "a: [", "{"]
)
def test_broken_configuration(tmp_path, text):
    """A file that is no configuration is refused in one line that names it."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ContextError) as caught:
        contexts.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_commands(lone):
    """set, use, list, view and delete, from an empty configuration."""
    env = {"MEMWATCH_CONTROLLER": "", "MEMWATCH_TOKEN": ""}

    def config(*words):
        return lone("config", *words, env=env)

    assert config("use-context", "a").returncode == 2
    assert "is the current one" in config("set-context", "a", "--controller", "x:1").stdout
    assert "is set\n" in config("set-context", "b", "--controller", "y:1", "--tls-ca", "f").stdout
    assert config("use-context", "b").returncode == 0
    lines = config("get-contexts").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [["a", "x:1", "-"], ["*", "b", "y:1"]]
    assert "y:1" in config("view").stdout
    assert config("delete-context", "b").returncode == 0
    assert "127.0.0.1:9466" in config("view").stdout


def test_view_never_shows_the_token(lone):
    """`config view` says where the token comes from, never what it is."""
    done = lone("config", "view", "-o", "json", env={"MEMWATCH_TOKEN": "s3cret"})
    assert "s3cret" not in done.stdout + done.stderr
