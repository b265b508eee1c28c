"""Parameters of routes: checked, bounded, and none that the route does not know."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Path, Query, Request
from fastapi.dependencies.models import Dependant

from ..errors import BadRequest

LARGEST_ID = 2**63 - 1

Id = Annotated[int, Path(ge=1, le=LARGEST_ID, description="its number")]
DidText = Annotated[str, Path(min_length=1, max_length=300, description="`scope:name`, or the name alone")]
Limit = Annotated[int, Query(ge=1, le=1000, description="most items of a page")]
AfterId = Annotated[int | None, Query(ge=0, le=LARGEST_ID, description="`next` of the page before")]
AfterName = Annotated[str | None, Query(max_length=300, description="`next` of the page before")]
AfterMark = Annotated[str | None, Query(max_length=500, description="`next` of the page before")]
Word = Annotated[str | None, Query(max_length=300)]


async def known_query_only(request: Request) -> None:
    """Refuse a parameter that the route does not know: a misspelt filter would answer everything."""
    if not request.query_params:
        return
    known = sorted(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            raise BadRequest(
                f"this route has no parameter {name[:60]!r}",
                object=name[:60],
                hint=f"known are: {', '.join(known)}" if known else "it takes none",
            )


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for part in dependant.dependencies:
        yield from _names(part)
