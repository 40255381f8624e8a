"""Whose TCP socket is whose, from /proc: the proof that a listener belongs to a process.

A port says nothing: in a pod every container shares them. The kernel names each socket by an
inode, and a process's descriptors name the inodes that it holds.
"""

import contextlib
import ipaddress
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from memwatch_agent import procfs

#: States of a row in /proc/net/tcp.
ESTABLISHED = 0x01
LISTEN = 0x0A

#: 150 bytes a row: more sockets than one pod has.
MAX_TABLE_BYTES = 16 * 1024 * 1024

_SOCKET = re.compile(r"socket:\[(\d+)\]")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class TcpRow:
    """One TCP socket of a network namespace. `inode` is 0 until somebody has accepted it."""

    address: Address
    port: int
    remote_address: Address
    remote_port: int
    state: int
    inode: int

    @property
    def dial_address(self) -> Address:
        """Where to reach a listener on this machine."""
        if not self.address.is_unspecified:
            return self.address
        return ipaddress.ip_address("127.0.0.1" if self.address.version == 4 else "::1")

    @property
    def exposed(self) -> bool:
        """Whether other machines may reach it."""
        return not self.address.is_loopback


def parse(table: str) -> Iterator[TcpRow]:
    """The rows of a /proc/net/tcp or tcp6; what is no row is left out."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        with contextlib.suppress(ValueError, IndexError, struct.error):
            local, remote = fields[1].split(":"), fields[2].split(":")
            yield TcpRow(
                address=_address(local[0]),
                port=int(local[1], 16),
                remote_address=_address(remote[0]),
                remote_port=int(remote[1], 16),
                state=int(fields[3], 16),
                inode=int(fields[9]),
            )


def _address(text: str) -> Address:
    """An address as the kernel prints it: 32-bit words in the machine's byte order."""
    words = struct.unpack(f">{len(text) // 8}I", bytes.fromhex(text))
    address = ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def rows(pid: int) -> list[TcpRow]:
    """Every TCP socket of the process's network namespace, whoever holds it."""
    found: list[TcpRow] = []
    for name in ("tcp", "tcp6"):
        table = procfs.read(f"/proc/{pid}/net/{name}", MAX_TABLE_BYTES)
        found += parse((table or b"").decode("ascii", "replace"))
    return found


def held_inodes(pid: int) -> frozenset[int]:
    """Inodes of the sockets that a process holds.

    Raises:
        PermissionError: we may not look into the process.
    """
    folder, inodes = f"/proc/{pid}/fd", set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(folder):
            match = _SOCKET.fullmatch(procfs.link(f"{folder}/{name}") or "")
            if match:
                inodes.add(int(match[1]))
    return frozenset(inodes)


def held_by(pid: int, candidates: Iterable[TcpRow]) -> list[TcpRow]:
    """Those of the sockets that the process holds.

    Raises:
        PermissionError: we may not look into the process.
    """
    candidates = [row for row in candidates if row.inode]
    inodes = held_inodes(pid) if candidates else frozenset()
    return [row for row in candidates if row.inode in inodes]


def listeners(pid: int) -> list[TcpRow]:
    """The process's own listening sockets.

    Raises:
        PermissionError: we may not look into the process.
    """
    return held_by(pid, (row for row in rows(pid) if row.state == LISTEN))


def same_network(pid: int) -> bool:
    """Whether the process and we share a network namespace.

    Raises:
        PermissionError: we may not know.
    """
    return os.readlink(f"/proc/{pid}/ns/net") == os.readlink("/proc/self/ns/net")
