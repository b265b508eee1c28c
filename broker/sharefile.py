"""The declaration of the shares, a TOML document of tables [share.NAME]; reading it is pure."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from .errors import BadRequest
from .tomllines import lines_of
from .tomlmodels import Sort

Pattern = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
HINT = 'a share looks like: [share.higgs] value = 30, parent = "production", match = {group = "higgs*"}'


class ShareSpec(BaseModel):
    """``value`` counts among the children of ``parent`` (or at the top); 0: what the others leave."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    value: float = Field(ge=0, le=1e9, allow_inf_nan=False)
    parent: str | None = None
    match: dict[Literal["activity", "group", "owner", "step", "tag"], Pattern] = {}


_SHARES = Sort("share", ShareSpec, called="table of shares", hint=HINT)


def parse(text: str, name: str = "shares") -> list[ShareSpec]:
    """The shares in their order. Raises BadRequest with the line."""
    found = _SHARES.read(text, name)
    if not found:
        raise BadRequest(f"{name}: there is no table of shares in it", object=name, hint=HINT)
    lines = lines_of(text)
    above = {share.name: share.parent for share in found}
    for share in found:
        _check_parents(share.name, above, f"{name}:{lines.get(('share', share.name), 1)}")
    return found


def _check_parents(share: str, above: dict[str, str | None], where: str) -> None:
    seen = [share]
    while (parent := above[seen[-1]]) is not None:
        if parent not in above or parent in seen:
            said = (
                f"is below itself ({' < '.join([*seen, parent])})" if parent in seen else f"has no parent {parent!r}"
            )
            raise BadRequest(
                f"{where}: share {share} {said}", object=f"share {share}", hint=f"shares here are {', '.join(above)}"
            )
        seen.append(parent)
