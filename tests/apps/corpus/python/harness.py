"""Serves a corpus program over stdin: `work N`, `snapshot FILE`, `quit`; each is answered by `ok`.

Snapshots are asked of the hook in this very process, over its socket, as an agent would.
"""

import json
import os
import socket
import sys
import time

import memwatch_hook
from memwatch_hook import place, wire

memwatch_hook.start()
_socket = place.socket_path(os.getpid(), place.start_ticks())
_unit = 0
while not os.path.exists(_socket):
    time.sleep(0.001)


def _snapshot(path):
    """Writes a heap dump, for the driver to convert as an agent does."""
    options = {"gc": False, "format": "dump"}
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(_socket)
    peer.sendall(wire.message(wire.REQUEST, {"id": 1, "command": "heap", "options": options}))
    decoder, dump = wire.Decoder(), None
    while True:
        data, descriptors, _, _ = socket.recv_fds(peer, 1 << 16, 1)
        dump = descriptors[0] if descriptors else dump
        for kind, payload in decoder.feed(data):
            if kind == wire.ERROR:
                raise OSError(json.loads(payload)["message"])
            if kind == wire.RESULT:
                peer.close()
                return _copy(dump, path)


def _copy(dump, path):
    with os.fdopen(dump, "rb") as source, open(path, "wb") as file:
        source.seek(0)
        file.write(source.read())


def _run(command, argument, work):
    global _unit
    if command == "work":
        for _ in range(int(argument)):
            work(_unit)
            _unit += 1
    elif command == "snapshot":
        _snapshot(argument)


def serve(work):
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "quit":
            return
        _run(command, argument, work)
        print("ok", flush=True)
