"""On which addresses and ports processes listen, as /proc tells it. Linux."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Collection
from pathlib import Path

LISTEN = "0A"
"""The state of such a socket in /proc/net/tcp."""


def sockets(pids: Collection[int]) -> set[tuple[str, int]]:
    """Address and port of every TCP socket on which one of these processes listens."""
    theirs = {link for pid in pids for link in _open(pid)}
    sockets = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == LISTEN and f"socket:[{rest[5]}]" in theirs:
                address, _, port = local.partition(":")
                sockets.add((_read(address), int(port, 16)))
    return sockets


def _open(pid: int) -> list[str]:
    """What each open file of a process is."""
    links = []
    with contextlib.suppress(OSError):
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(str(each.readlink()))
    return links


def _read(address: str) -> str:
    """An address, written in words of 32 bits of which each has its bytes turned round; IPv4 where it is that."""
    raw = b"".join(bytes.fromhex(address[i : i + 8])[::-1] for i in range(0, len(address), 8))
    ip = ipaddress.ip_address(raw)
    return str(getattr(ip, "ipv4_mapped", None) or ip)
