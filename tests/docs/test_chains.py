"""Chains that pages show can be imported and planned."""

import json
from pathlib import Path

import pytest

from prodchain.cli.main import main

from .pages import Block, blocks, pages

CHAINS = [
    block for page in pages() for block in blocks(page) if block.language == "python" and "@chain" in block.text
]


@pytest.mark.parametrize("block", CHAINS, ids=lambda block: block.page.stem)
def test_the_chain_has_a_plan(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRODCHAIN_HOME", str(tmp_path / "home"))
    file = tmp_path / "shown_chain.py"
    file.write_text(block.text)
    assert main(["chain", "plan", "--json", str(file)]) == 0
    assert json.loads(capsys.readouterr().out)["items"]


def test_pages_show_chains() -> None:
    assert {"README", "first-chain"} <= {block.page.stem for block in CHAINS}


def test_the_tutorials_chain_is_the_example() -> None:
    example = (Path(__file__).parents[2] / "examples" / "my_first_chain.py").read_text()
    (shown,) = [block.text for block in CHAINS if block.page.stem == "first-chain"]
    assert shown == example
