"""The parts of the names of a chain's datasets."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from prodchain.catalog.names import parse_did


@dataclass(frozen=True)
class Facets:
    """What the datasets of a chain have in common: ``project.number.physics. ... .tag``."""

    project: str
    number: int
    physics: str
    tag: str

    def changed(self, values: Mapping[str, object]) -> "Facets":
        """With those of the values whose names are facets: a chain's parameter, or a step's option, wins."""
        known = {field.name for field in fields(self)}
        return replace(self, **{key: value for key, value in values.items() if key in known})  # type: ignore[arg-type]

    def did(self, word: str, format: str) -> str:  # noqa: A002
        """The identifier of a dataset of one step; BadName if a facet holds what a name cannot."""
        return str(parse_did(f"{self.project}.{self.number}.{self.physics}.{word}.{format}.{self.tag}"))

    def options(self) -> dict[str, object]:
        """As options of a step's command, where ``{number}`` is already the number of the job."""
        values = asdict(self)
        return {"run_number": values.pop("number"), **values}
