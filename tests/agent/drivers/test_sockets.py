"""`drivers/sockets.py`: whose socket is whose."""

import ipaddress
import os
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memwatch_agent.drivers import sockets

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:240D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 17735 1 0
   1: 0100007F:240D 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   2: nonsense
   3: 0100007F:240D
"""
TCP6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000001000000:240D 00000000000000000000000000000000:0000 0A 0 0 0 0 0 42
   1: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000100007F:C000 01 0 0 0 0 0 43
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the sample is of a little-endian kernel")
def test_rows_of_both_families():
    """Addresses, ports, states and inodes; what is no row is left out."""
    listener, accepting = sockets.parse(TCP)
    assert listener == sockets.TcpRow(
        ipaddress.ip_address("127.0.0.1"),
        9229,
        ipaddress.ip_address("0.0.0.0"),
        0,
        sockets.LISTEN,
        17735,
    )
    assert (accepting.state, accepting.inode, accepting.remote_port) == (1, 0, 0xC001)
    six, mapped = sockets.parse(TCP6)
    assert str(six.address) == "::1"
    assert (str(mapped.address), mapped.port) == ("127.0.0.1", 80)


@given(table=st.text(max_size=300))
def test_no_table_raises(table):
    """The kernel's text is parsed leniently."""
    list(sockets.parse("head\n" + table))


@pytest.mark.parametrize(
    ("address", "dialled", "exposed"),
    [
        ("127.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "::1", True),
        ("::1", "::1", False),
        ("10.1.2.3", "10.1.2.3", True),
    ],
)
def test_where_to_dial_and_who_else_can(address, dialled, exposed):
    """A listener on every address is reached on loopback, and by others."""
    ip = ipaddress.ip_address(address)
    row = sockets.TcpRow(ip, 1, ip, 0, sockets.LISTEN, 1)

    assert str(row.dial_address) == dialled
    assert row.exposed is exposed


def test_our_own_listeners_are_ours():
    """A socket of this process is found by its inode, and no longer when it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in [row.port for row in sockets.listeners(os.getpid())]
    assert port not in [row.port for row in sockets.listeners(os.getpid())]


def test_a_process_that_is_gone_holds_nothing():
    """No exception for what has ended."""
    assert sockets.listeners(2**22) == []
    assert sockets.rows(2**22) == []
    assert sockets.same_network(os.getpid())
