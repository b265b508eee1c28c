"""Decisions as a person reads them."""

import pytest

from prodchain.cli.reasons import show_decisions

from .other_end import verdict


def test_decisions_with_equal_verdicts_have_one_table_below_their_sentences(
    capsys: pytest.CaptureFixture[str],
) -> None:
    both, other = [verdict("A", True), verdict("B", True)], [verdict("A", False, "memory")]
    show_decisions(
        [
            {"jobs": 4, "reason": "A: the emptiest", "verdicts": both},
            {"jobs": 2, "reason": "A: memory", "verdicts": other},
            {"jobs": 3, "reason": "B: the next", "verdicts": [dict(each) for each in both]},
        ]
    )
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [
        *("4 jobs: A: the emptiest", "3 jobs: B: the next", "A", "B"),
        *("2 jobs: A: memory", "A"),
    ]
