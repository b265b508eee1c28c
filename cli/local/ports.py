"""Ports that are free, and stay the same over restarts so that links keep working."""

import json
import os
import socket
import zlib

from ..errors import Usage
from .home import Home, read_json, write

FIRST, MANY = 20_000, 10_000
"""Below the range from which the kernel takes ports for outgoing connections: none of ours can be lost to one."""


def port_for(home: Home, name: str, wished: int, host: str = "127.0.0.1") -> int:
    """The wished port if it is free; without a wish the one of last time, else a free one."""
    if wished:
        if not is_free(wished, host):
            raise Usage(
                f"port {wished} is busy: something else listens on {host}:{wished}",
                object=f"port {wished}",
                hint=f"stop what listens there (ss -ltnp 'sport = :{wished}' names it), or choose another port",
            )
        return wished
    notes = home.run / "ports"
    ports = read_json(notes)
    ports = ports if isinstance(ports, dict) else {}
    if not is_free(ports.get(name, 0), host):
        ports[name] = free_port(f"{home.path}/{name}", host, set(ports.values()))
        write(notes, json.dumps(ports))
    return int(ports[name])


def free_port(seed: str, host: str, taken: set[int]) -> int:
    """A free port; the same seed finds the same one if it can."""
    start = zlib.crc32(os.fsencode(seed)) % MANY
    for offset in range(MANY):
        port = FIRST + (start + offset) % MANY
        if port not in taken and is_free(port, host):
            return port
    raise Usage("no port is free", object=host, hint="stop something that listens on ports from 20000 to 30000")


def is_free(port: int, host: str) -> bool:
    if not port:
        return False
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not count
        try:
            probe.bind((host, port))
            probe.listen()
        except OSError:
            return False
    return True
