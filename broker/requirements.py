"""Kinds of requirement: what a job needs of a slot, one row for all jobs alike."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .database import Connection
from .requests import TaskRequest

_COLUMNS = "cores, memory_mb, walltime_s, scratch_mb, gpus, architecture, software"
_FIND = f"SELECT id FROM requirement WHERE ({_COLUMNS}) = ($1, $2, $3, $4, $5, $6, $7::jsonb)"  # noqa: S608
_MAKE = f"""
INSERT INTO requirement ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb) ON CONFLICT DO NOTHING RETURNING id
"""  # noqa: S608
_GET = f"SELECT id, {_COLUMNS} FROM requirement WHERE id = ANY($1)"  # noqa: S608

MEMORY_STEP_MB, WALLTIME_STEP_S = 250, 600
"""What measured and raised needs are rounded up to, so that the kinds of requirement stay few."""


@dataclass(frozen=True)
class Requirement:
    """Units are in the names; an empty architecture is any."""

    cores: int = 1
    memory_mb: int = 1000
    walltime_s: int = 3600
    scratch_mb: int = 0
    gpus: int = 0
    architecture: str = ""
    software: tuple[str, ...] = ()


NEEDS = tuple(Requirement.__dataclass_fields__)


def of_ask(ask: TaskRequest) -> Requirement:
    return Requirement(
        ask.cores,
        ask.memory_mb,
        ask.walltime_s,
        ask.scratch_mb,
        ask.gpus,
        ask.architecture,
        tuple(sorted(set(ask.software))),
    )


async def find(conn: Connection, requirement: Requirement) -> int:
    """The row of the requirement, made if there is none."""
    values = list((asdict(requirement) | {"software": list(requirement.software)}).values())
    found: int | None = await conn.fetchval(_FIND, *values)
    while found is None:  # whoever was faster has committed by then
        found = await conn.fetchval(_MAKE, *values) or await conn.fetchval(_FIND, *values)
    return found


async def get_many(conn: Connection, ids: Collection[int]) -> dict[int, Requirement]:
    rows = await conn.fetch(_GET, list(ids))
    return {row["id"]: _requirement(row) for row in rows}


async def get(conn: Connection, requirement_id: int) -> Requirement:
    return (await get_many(conn, [requirement_id]))[requirement_id]


def _requirement(row: Mapping[str, Any]) -> Requirement:
    values = {name: value for name, value in row.items() if name != "id"}
    return Requirement(**{**values, "software": tuple(row["software"])})
