"""Real child processes under another user, and servers that are removed when a test ends."""

import json
import os
import pwd
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prodchain.cli.local import postgres

Start = Callable[..., postgres.PostgresServer]


@pytest.fixture
def start() -> Iterator[Start]:
    """``postgres.start``; what it started is stopped and deleted at the end."""
    servers: list[postgres.PostgresServer] = []

    def run(data: Path, log: Path | None = None) -> postgres.PostgresServer:
        servers.append(postgres.start(data, log))
        return servers[-1]

    yield run
    for server in reversed(servers):
        server.stop(remove=True)


def as_user(name: str, home: Path, function: Callable[[], Any]) -> Any:
    """What ``function`` returns (as JSON) when a child process runs it as that user.

    A fork, not a new interpreter: the user may not be able to reach this one, for example below /root.
    """
    account = pwd.getpwnam(name)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os.environ["HOME"] = str(home)
            os.chdir("/")
            answer = json.dumps({"answer": function()})
        except BaseException:  # the child must never return into the test session
            answer = json.dumps({"error": traceback.format_exc()})
        os.write(writer, answer.encode())
        sys.stdout.flush()
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answer = json.loads(pipe.read())
    os.waitpid(pid, 0)
    assert "error" not in answer, answer["error"]
    return answer["answer"]
