"""The mass of the Z: the physics comes out right."""

from pathlib import Path

import numpy as np
import pytest

from prodchain.tasks.payloads import reference, zmass

from .conftest import Small


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mplhep", "ignore::DeprecationWarning:pyparsing")
def test_peak(tmp_path: Path) -> None:
    reference.produce(tmp_path, [150, 150])
    result = zmass.measure([tmp_path / "AOD.root"])
    assert result.events == 300
    assert 100 < len(result.masses) < 300  # two muons within |eta| < 3 with 20 GeV
    assert result.median == pytest.approx(90.7, abs=1.5)
    assert result.counts.sum() == np.sum((result.masses >= 60) & (result.masses <= 120))
    picture = tmp_path / "zmass.png"
    zmass.plot(result, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = zmass.lines(result, width=30)
    assert len(lines) == 30
    assert max(line.count("█") for line in lines) == 30
    assert lines[15].startswith("   90 GeV ")


def test_without_a_pair_in_the_peak(small: Small) -> None:
    few = zmass.select(small.events[:0])
    assert len(few) == 0
