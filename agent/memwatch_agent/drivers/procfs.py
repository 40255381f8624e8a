"""What /proc says of one process: its identity, its cost, its signals and its sockets.

Parsers are pure functions of the file's text; the readers below them open the file. A
process that is gone reads as None or as nothing, never as an exception.
"""

import contextlib
import ipaddress
import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_SOCKET = re.compile(r"socket:\[(\d+)\]")

#: States of a row in /proc/net/tcp.
ESTABLISHED = 0x01
LISTEN = 0x0A

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Stat:
    """A process's line in /proc/PID/stat, as far as we need it."""

    state: str
    start_ticks: int
    cpu_millis: int


@dataclass(frozen=True)
class TcpRow:
    """One TCP socket of a network namespace. `inode` is 0 until somebody has accepted it."""

    address: Address
    port: int
    remote_address: Address
    remote_port: int
    state: int
    inode: int


def parse_stat(line: str) -> Stat:
    """The fields of a stat line; the command in it may hold spaces and parentheses."""
    fields = line[line.rindex(")") + 2 :].split()
    ticks = int(fields[11]) + int(fields[12])
    return Stat(fields[0], int(fields[19]), ticks * 1000 // _TICKS_PER_SECOND)


def parse_catches(status: str, signal_number: int) -> bool:
    """Whether a status file's SigCgt mask says that the process handles a signal itself."""
    match = re.search(r"^SigCgt:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> (signal_number - 1) & 1)


def parse_tcp(table: str) -> Iterator[TcpRow]:
    """The rows of a /proc/net/tcp or tcp6 file."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10:
            continue
        local, remote = fields[1].split(":"), fields[2].split(":")
        yield TcpRow(
            _address(local[0]),
            int(local[1], 16),
            _address(remote[0]),
            int(remote[1], 16),
            int(fields[3], 16),
            int(fields[9]),
        )


def _address(text: str) -> Address:
    """An address as the kernel prints it: 32-bit words in the machine's byte order."""
    words = struct.unpack(f">{len(text) // 8}I", bytes.fromhex(text))
    packed = struct.pack(f"={len(words)}I", *words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def stat(pid: int) -> Stat | None:
    """The process's stat; None where it is gone."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text(errors="replace"))
    except (OSError, ValueError, IndexError):
        return None


def is_alive(pid: int, start_ticks: int) -> bool:
    """Whether that very process runs; a zombie does not."""
    now = stat(pid)
    return now is not None and now.start_ticks == start_ticks and now.state not in "ZX"


def rss_bytes(pid: int) -> int:
    """Resident memory; 0 where the process is gone."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int((PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE_BYTES
    return 0


def catches(pid: int, signal_number: int) -> bool:
    """Whether the process handles the signal itself; False where nobody can tell."""
    with contextlib.suppress(OSError):
        return parse_catches(
            (PROC / str(pid) / "status").read_text(errors="replace"), signal_number
        )
    return False


def same_network(pid: int) -> bool:
    """Whether the process and we share a network namespace.

    Raises:
        PermissionError: we may not know.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return os.readlink(PROC / str(pid) / "ns/net") == os.readlink(PROC / "self/ns/net")
    return False


def socket_inodes(pid: int) -> frozenset[int]:
    """Inodes of the sockets that the process holds.

    Raises:
        PermissionError: we may not look into the process.
    """
    folder, inodes = PROC / str(pid) / "fd", set()
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if match := _SOCKET.fullmatch(os.readlink(folder / name)):
                    inodes.add(int(match[1]))
    return frozenset(inodes)


def tcp_rows(pid: int) -> list[TcpRow]:
    """Every TCP socket of the process's network namespace, whoever holds it."""
    rows: list[TcpRow] = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            rows += parse_tcp((PROC / str(pid) / "net" / name).read_text())
    return rows


def held_by(pid: int, rows: Iterable[TcpRow]) -> list[TcpRow]:
    """Those of the rows whose socket the process holds.

    Raises:
        PermissionError: we may not look into the process.
    """
    inodes = socket_inodes(pid)
    return [row for row in rows if row.inode in inodes]


def listeners(pid: int) -> list[TcpRow]:
    """The process's own listening TCP sockets.

    Raises:
        PermissionError: we may not look into the process.
    """
    return held_by(pid, (row for row in tcp_rows(pid) if row.state == LISTEN))
