"""The formats of event files, as data: collections and their columns.

GeV, mm (also for times, with c = 1) and radians. Floats have 4 bytes: finer than any effect in the detector.
"""

from dataclasses import dataclass

HEADER = {"runNumber": "u4", "eventNumber": "u8", "weight": "f8"}


@dataclass(frozen=True)
class Format:
    """A file format: its name (also of the tree), and its collections' columns with their types."""

    name: str
    collections: dict[str, dict[str, str]]

    def branches(self) -> list[str]:
        return [*HEADER, *(f"{c}_{column}" for c, columns in self.collections.items() for column in columns)]


def _columns(dtype: str, names: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), dtype)


EVNT = Format("EVNT", {"particle": _columns("i4", "pdg") | _columns("f4", "m q px py pz vx vy vz vt")})

# A hit knows the sensitive surface (ACTS's geometry identifier), the bar code of its particle (five numbers),
# where and with what momentum the particle came, what it lost there, and its place on the particle's way.
HITS = Format(
    "HITS",
    {
        "hit": _columns("u8", "surface")
        | _columns("u4", "vertex secondary particle generation descendant")
        | _columns("f4", "x y z t px py pz e dpx dpy dpz de")
        | _columns("i4", "step")
    },
)
AOD = Format(
    "AOD",
    {
        "track": _columns("f4", "pt eta phi d0 z0 chi2ndf") | _columns("i4", "charge measurements"),
        "jet": _columns("f4", "pt eta phi mass"),
    },
)
FORMATS = {format_.name: format_ for format_ in (EVNT, HITS, AOD)}
