"""`drivers/inspector.py`: what a command line says of the inspector. The rest: test_node.py."""

import pytest

from memwatch_agent.drivers.base import Process, Runtime
from memwatch_agent.drivers.inspector import Flags, flags_of


def process(*argv: str, options: str = "") -> Process:
    """A Node process with this command line and NODE_OPTIONS."""
    environ = {"NODE_OPTIONS": options} if options else {}
    return Process(1, 1, Runtime.NODE, argv=("node", *argv), environ=environ)


@pytest.mark.parametrize(
    ("argv", "options", "flags"),
    [
        ((), "", Flags(None, 9229)),
        (("app.js",), "", Flags(None, 9229)),
        (("--inspect", "app.js"), "", Flags(None, 9229)),
        (("--inspect=9300", "app.js"), "", Flags(None, 9300)),
        (("--inspect-port=0", "app.js"), "", Flags(None, 0)),
        (("--inspect-port", "9301", "app.js"), "", Flags(None, 9301)),
        (("--inspect=0.0.0.0:9302", "app.js"), "", Flags("0.0.0.0", 9302)),
        (("--inspect=0.0.0.0", "app.js"), "", Flags("0.0.0.0", 9229)),
        (("--inspect-brk=[::1]:9303", "app.js"), "", Flags("[::1]", 9303)),
        (("--inspect-publish-uid=http", "app.js"), "", Flags(None, 9229)),
        (("app.js", "--inspect=0.0.0.0:1"), "", Flags(None, 9229)),
        (("--expose-gc", "app.js", "--inspect=0.0.0.0:1"), "", Flags(None, 9229)),
        (("-r", "x.js", "--inspect=7", "app.js", "--inspect=8"), "", Flags(None, 7)),
        (("app.js",), "--inspect-port=9304 --max-old-space-size=1", Flags(None, 9304)),
        (("--inspect-port=9305", "app.js"), "--inspect-port=9304", Flags(None, 9305)),
        (("--inspect-port=9305", "app.js"), "--require 'unclosed", Flags(None, 9305)),
        (("--disable-sigusr1", "app.js"), "", Flags(None, 9229, signal_disabled=True)),
    ],
)
def test_flags(argv, options, flags):
    """NODE_OPTIONS first, then Node's own options, never the app's; a later one wins."""
    assert flags_of(process(*argv, options=options)) == flags


@pytest.mark.parametrize(
    ("host", "exposed"),
    [
        (None, False),
        ("", False),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("[::1]", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("[::]", True),
        ("10.0.0.1", True),
        ("myhost", True),
    ],
)
def test_which_hosts_are_exposed(host, exposed):
    """Everything but loopback."""
    assert Flags(host).exposed is exposed
