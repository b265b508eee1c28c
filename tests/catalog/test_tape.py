"""The WLCG Tape REST API as a client; and the server of these tests against Debian's own gfal2."""

import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodchain.catalog import tape
from prodchain.catalog.errors import BadStorage, FileMissing
from prodchain.catalog.tape import Locality, Progress, Tape, Whereabouts, discover

from ..storages.servers import needs
from ..storages.tape import Library, tape_library


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with tape_library(tmp_path / "tape") as library:
        library.put("/a/one", b"1")
        library.put("/a/two", b"22")
        yield library


@pytest.mark.parametrize("slash", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_files_are_staged_followed_and_released(library: Library, states: bool, slash: bool) -> None:
    library.states, library.slash = states, slash
    library.failing["/a/two"] = "the tape is torn"
    api = Tape(library.api)
    request = api.stage(["/a/one", "/a/two"])
    assert api.poll(request) == {"/a/one": Progress(True), "/a/two": Progress(False, "the tape is torn")}
    assert api.archiveinfo(["/a/one"]) == {"/a/one": Whereabouts(Locality.DISK_AND_TAPE)}
    api.release(request, ["/a/one"])
    assert api.archiveinfo(["/a/one"]) == {"/a/one": Whereabouts(Locality.TAPE)}


def test_what_has_not_come_is_neither_there_nor_failed(library: Library) -> None:
    library.recall_s = 60
    api = Tape(library.api)
    request = api.stage(["/a/one"])
    assert api.poll(request) == {"/a/one": Progress(False)}


def test_a_cancelled_file_has_failed_and_others_go_on(library: Library) -> None:
    library.recall_s, library.states = 60, True
    api = Tape(library.api)
    request = api.stage(["/a/one", "/a/two"])
    api.cancel(request, ["/a/two"])
    assert api.poll(request) == {"/a/one": Progress(False), "/a/two": Progress(False, "cancelled")}
    with pytest.raises(BadStorage, match="not of this request"):
        api.cancel(request, ["/a/one", "/else"])


def test_a_request_that_is_not_there_is_missing_and_may_be_forgotten_again(library: Library) -> None:
    api = Tape(library.api)
    with pytest.raises(FileMissing):
        api.poll("none")
    api.forget("none")


def test_a_partial_answer_is_asked_on(library: Library) -> None:
    library.few = 1
    library.gone.add("/a/two")
    assert Tape(library.api).archiveinfo(["/a/one", "/a/two", "/a/none"]) == {
        "/a/one": Whereabouts(Locality.TAPE),
        "/a/two": Whereabouts(Locality.LOST),
        "/a/none": Whereabouts(Locality.UNAVAILABLE, "no such file"),
    }


def test_a_server_that_says_nothing_about_a_file_is_not_asked_for_ever(library: Library) -> None:
    library.few = 0
    (info,) = Tape(library.api).archiveinfo(["/a/one"]).values()
    assert info == Whereabouts(Locality.UNAVAILABLE, "the tape says nothing about it")


def test_the_interface_is_found_at_its_well_known_place(library: Library) -> None:
    assert discover(library.url) == library.api


def test_a_server_without_the_interface_is_said_with_a_remedy(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tape, "WELL_KNOWN", "/api/v1/stage/none")
    with pytest.raises((BadStorage, FileMissing)):
        discover(library.url)
    with pytest.raises((BadStorage, FileMissing)) as caught:
        Tape(f"{library.url}/a").stage(["/a/one"])
    assert caught.value.hint


GFAL2 = """
    import gfal2, sys, time
    context = gfal2.creat_context()
    context.set_opt_boolean("HTTP PLUGIN", "INSECURE", True)
    one, two = (sys.argv[1] + "/a/" + name for name in ("one", "two"))
    assert context.getxattr(one, "user.status").strip() == "NEARLINE", context.getxattr(one, "user.status")
    errors, token = context.bring_online([one, two], 3600, 60, True)
    assert token and not any(errors), (errors, token)
    for _ in range(100):
        states = context.bring_online_poll([one, two], token)
        if not any(states):
            break
        time.sleep(0.1)
    assert not any(states), states
    assert "ONLINE" in context.getxattr(one, "user.status")
    assert not any(context.release([one, two], token))
    print("passed")
"""


@pytest.mark.parametrize("states", [False, True])
def test_the_library_of_these_tests_is_one_for_gfal2_too(library: Library, states: bool) -> None:
    needs("/usr/bin/python3")
    if subprocess.run(["/usr/bin/python3", "-c", "import gfal2"], capture_output=True, check=False).returncode:
        needs("gfal2 (python3-gfal2, gfal2-plugin-http)")
    library.recall_s, library.states = 0.3, states
    url = library.url.replace("http://", "dav://")
    ran = subprocess.run(
        ["/usr/bin/python3", "-c", textwrap.dedent(GFAL2), url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "passed\n", ran.stderr
    assert any(call.startswith("POST /api/v1/stage/") for call in library.calls)
