"""What happened, in words."""

from prodchain.catalog import history
from prodchain.catalog.connection import Connection


async def test_what_happened_to_an_object_is_read_newest_first_in_pages(conn: Connection) -> None:
    for number in range(5):
        await history.note(conn, "closed", "mc26:a", "ada", f"words {number}")
    await history.note_many(conn, "lost", ["mc26:b", "mc26:c"], "", "no copy is left")
    first = await history.of(conn, "mc26:a", limit=3)
    assert [event.text for event in first] == ["words 4", "words 3", "words 2"]
    rest = await history.of(conn, "mc26:a", before=first[-1].id)
    assert [event.text for event in rest] == ["words 1", "words 0"]
    assert (rest[0].kind, rest[0].object, rest[0].actor) == ("closed", "mc26:a", "ada")
    both = await history.recent(conn, limit=2)
    assert [event.object for event in both] == ["mc26:c", "mc26:b"]
    assert len(await history.recent(conn, before=both[-1].id)) == 5
