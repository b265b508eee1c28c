"""How ``prodchain chain run`` ends when it is told to."""

from types import SimpleNamespace
from typing import Any

import pytest
import typer

from prodchain.cli.commands import chain
from prodchain.cli.errors import INTERRUPTED

pytestmark = pytest.mark.prefect


def test_a_chain_that_is_terminated_says_how_to_follow_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prefect.exceptions import TerminationSignal

    async def terminated(*_: Any) -> None:
        raise TerminationSignal(signal=15)

    monkeypatch.setattr("prodchain.flows.runs.drive", terminated)
    with pytest.raises(typer.Exit) as ended:
        chain._drive(None, SimpleNamespace(id="some-run"))  # type: ignore[arg-type]
    assert ended.value.exit_code == INTERRUPTED
    assert "`prodchain chain resume some-run` follows them again" in capsys.readouterr().err
