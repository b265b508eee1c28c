"""What a chain's function runs in: it takes the calls of steps and names their datasets."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from prodchain.catalog.names import parse_did
from prodchain.tasks.dataset import Dataset
from prodchain.tasks.steps import Step

from .errors import BadChain
from .facets import Facets


class Context(ABC):
    """A chain at work. What becomes of an ordered step is up to the subclass: it runs, or it is planned."""

    def __init__(self, facets: Facets) -> None:
        self.facets = facets
        self.datasets: list[Dataset] = []

    def take(self, step: Step, source: Dataset | str | None, wishes: Mapping[str, object]) -> Dataset:
        facets = self.facets.changed(wishes)
        output = facets.did(step.word or step.name, step.format)
        if any(dataset.did == output for dataset in self.datasets):
            raise BadChain(
                f"two steps make the same dataset {output}",
                object=output,
                hint="give one of the two calls a tag of its own: tag=...",
            )
        made_by = str(parse_did(source)) if isinstance(source, str) else source.did if source else None
        request = step.request(output=output, source=made_by, wishes=wishes, facets=facets.options())
        dataset = self.start(request, source if isinstance(source, Dataset) else None)
        self.datasets.append(dataset)
        return dataset

    @abstractmethod
    def start(self, request: dict[str, Any], source: Dataset | None) -> Dataset:
        """Begin the step; ``source`` is the step of this chain that makes the input, if one does."""
