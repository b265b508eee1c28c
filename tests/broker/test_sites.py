"""A declaration becomes tables, each difference is told, and what is not named goes back to how it was."""

from pathlib import Path
from typing import Any

from prodchain.broker import site_views, sitefile, sites

from .test_sitefile import QUEUE
from .world import SITES, World, inside


async def apply(world: World, text: str, **options: Any) -> list[str]:
    file = sitefile.parse(text, Path("/base"))
    changes: list[str] = await inside(world.pool, lambda conn: sites.apply(conn, file, text=text, **options))
    return changes


async def test_what_a_queue_has_is_kept_shown_and_told(world: World) -> None:
    both = SITES.replace('home = "A-DISK"\n', "").replace("file:a", "file:/base/a")
    text = QUEUE.replace("file:a", "file:/base/a") + both[both.index("[site.B") :]
    changes = await apply(world, text)
    assert "queue A-GPU: new" in changes
    (view,) = [each for each in (await inside(world.pool, site_views.queues))[0] if each["name"] == "A-GPU"]
    assert {key: view[key] for key in ("scratch_mb", "gpus", "architecture", "max_jobs", "analysis_percent")} == {
        "scratch_mb": 50_000,
        "gpus": 2,
        "architecture": "aarch64",
        "max_jobs": 0,
        "analysis_percent": 30,
    }
    assert (view["software"], view["allow"]) == (
        ["Athena/24.*", "apptainer"],
        ["group:higgs", "user:ann", "analysis"],
    )
    assert await apply(world, text) == []

    plain = text.replace('software = ["Athena/24.*", "apptainer"]\n', "").replace("max_jobs = 0\n", "")
    told = [
        "queue A-GPU: max_jobs 0 -> None",
        "queue A-GPU: software ['Athena/24.*', 'apptainer'] -> []",
    ]
    assert await apply(world, plain, dry_run=True) == told
    assert await apply(world, plain) == told
    assert await world.value("SELECT max_jobs FROM queue WHERE name = 'A-GPU'") is None
    assert await world.value("SELECT software FROM queue WHERE name = 'A-GPU'") == []
    assert (await world.value("SELECT changes FROM site_revision ORDER BY id DESC LIMIT 1")) == told
