"""Copies on people's own storages are taken on their word, and on nobody else's."""

from prodchain.broker import sitefile, sites

from ..world import SITES, inside
from .conftest import Broker

NAME = "user.ada.x.NTUP.v1"


async def laptop(broker: Broker) -> dict[str, str]:
    """A storage of ada's, and a registered file that is elsewhere; what a claim about it says."""
    text = SITES + '[site.C.storage.ADA-LAPTOP]\nurl = "file:laptop"\nattributes = {owner = "ada"}\n'
    await inside(broker.world.pool, sites.apply, sitefile.parse(text, broker.world.folder))
    file = {"name": "x.root", "guid": "12345678-1234-1234-1234-123456789abc", "bytes": 3, "adler32": "024d0127"}
    folder = broker.world.folder
    upload = {"dataset": NAME, "files": [file]}
    ada = await broker.token("user", "ada")
    where = (await broker.post("/api/uploads", upload, ada)).json()["files"][0]["url"]
    path = folder / where.removeprefix(f"file://{folder}/")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    answer = await broker.post("/api/uploads/commit", upload, ada)
    assert answer.status_code == 200, answer.text
    return {"did": "user.ada:x.root", "bytes": 3, "adler32": "024d0127"}  # type: ignore[dict-item]


async def test_a_copy_on_ones_own_storage_is_registered_once(broker: Broker) -> None:
    claim = await laptop(broker)
    ada = await broker.token("user", "ada")
    wish = {"storage": "ADA-LAPTOP", "files": [claim]}
    assert (await broker.post("/api/replicas", wish, ada)).json() == {"storage": "ADA-LAPTOP", "new": 1}
    assert (await broker.post("/api/replicas", wish, ada)).json() == {"storage": "ADA-LAPTOP", "new": 0}
    places = (await broker.get(f"/api/datasets/{NAME}")).json()["replicas"]
    assert [(place["storage"], place["complete"]) for place in places] == [("A-DISK", True), ("ADA-LAPTOP", True)]


async def test_nobody_claims_copies_at_storages_of_others(broker: Broker) -> None:
    claim = await laptop(broker)
    ann, ada = await broker.token("user", "ann"), await broker.token("user", "ada")
    for token, storage in ((ann, "ADA-LAPTOP"), (ada, "B-DISK")):
        answer = await broker.post("/api/replicas", {"storage": storage, "files": [claim]}, token)
        assert answer.status_code == 403
        assert "attributes" in answer.json()["hint"]


async def test_a_copy_that_is_something_else_registers_nothing(broker: Broker) -> None:
    claim = await laptop(broker)
    ada = await broker.token("user", "ada")
    for wrong, code in (
        ({"adler32": "00000001"}, "checksum-mismatch"),
        ({"bytes": 4}, "checksum-mismatch"),
        ({"did": "user.ada:y.root"}, "file-missing"),
    ):
        wish = {"storage": "ADA-LAPTOP", "files": [claim, claim | wrong]}
        answer = await broker.post("/api/replicas", wish, ada)
        assert answer.json()["code"] == code
    assert len((await broker.get(f"/api/datasets/{NAME}")).json()["replicas"]) == 1
