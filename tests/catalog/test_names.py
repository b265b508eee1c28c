"""Names of datasets and files."""

import fnmatch
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.catalog import names
from prodchain.catalog.errors import BadName
from prodchain.catalog.names import Did

AOD = "mc11.007216.singlepart_mu18.recon.AOD.v11000303"

name_texts = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", fullmatch=True)
scope_texts = st.from_regex(r"[a-z][a-z0-9]{0,9}(\.[a-z0-9]{1,8})?", fullmatch=True).filter(
    lambda scope: scope not in ("user", "group")
)


def like_matches(pattern: str, text: str) -> bool:
    """SQL's LIKE with backslash escapes, as PostgreSQL defines it."""
    regex, position, like = "", 0, names.like(pattern)
    while position < len(like):
        character = like[position]
        if character == "\\":
            position += 1
            regex += re.escape(like[position])
        else:
            regex += {"%": ".*", "_": "."}.get(character, re.escape(character))
        position += 1
    return re.fullmatch(regex, text, re.DOTALL) is not None


@pytest.mark.parametrize(
    ("text", "did"),
    [
        (AOD, Did("mc11", AOD)),
        ("mc26_13p6TeV.700001.Z.evgen.EVNT.v1", Did("mc26_13p6TeV", "mc26_13p6TeV.700001.Z.evgen.EVNT.v1")),
        ("user.ada.test", Did("user.ada", "user.ada.test")),
        ("group.higgs.test.v1", Did("group.higgs", "group.higgs.test.v1")),
        ("mc11:anything", Did("mc11", "anything")),
    ],
)
def test_the_scope_is_given_or_read_from_the_name(text: str, did: Did) -> None:
    assert names.parse_did(text) == did


@given(scope_texts, name_texts)
def test_a_written_did_reads_back_as_itself(scope: str, name: str) -> None:
    did = Did(scope, name)
    assert names.parse_did(str(did)) == did


@pytest.mark.parametrize(
    "text",
    ["", ":", "mc11:", ":x", "user.", "user", "group:x", "..", "mc11:..", "mc11:../x", "../x:y", "mc11:a/b", "a..b:c",
     "/etc/passwd", "mc11:a b", "mc11:a\n", "mc11:a\x00", "mc11:-rf", "mc11:.hidden", "a:b:c", "mc11:müon", "mc11:%",
     " mc11.x", "x" * 26 + ".name", "x" * 26 + ":name", "mc11:" + "x" * 201],
)  # fmt: skip
def test_a_name_that_is_no_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(BadName) as error:
        names.parse_did(text)
    assert error.value.hint
    assert error.value.object == names.shown(text)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("mc11:", "the name is empty"),
        ("mc11:" + "x" * 201, "has 201 characters, 200 at most"),
        ("/etc/passwd", "absolute path"),
        ("mc11:../../etc", "is a path"),
        ("mc11:a\\b", "is a path"),
        ("mc11:..", "begins with a dot"),
        ("mc11:-rf", "begins with a dash"),
        ("mc11:a b", "it has a space"),
        ("mc11:a\tb", "control character U\\+0009"),
        ("mc11:a\u202eb", "control character U\\+202E .RIGHT-TO-LEFT OVERRIDE"),
        ("mc11:\u0430bc", "U\\+0430, CYRILLIC SMALL LETTER A"),
        ("mc11.1.\uff21OD", "U\\+FF21, FULLWIDTH LATIN CAPITAL LETTER A"),
        ("mc11:a\u00a0b", "U\\+00A0, NO-BREAK SPACE"),
        ("mc11:a%", "it has '%'"),
    ],
)
def test_the_rule_that_was_broken_is_named(text: str, rule: str) -> None:
    with pytest.raises(BadName, match=rule):
        names.parse_did(text)


@given(st.text(max_size=40))
def test_any_text_is_a_name_or_refused_in_plain_words(text: str) -> None:
    try:
        did = names.parse_did(text)
    except BadName as error:
        assert str(error).isprintable()
        assert error.object.isprintable()
    else:
        assert re.fullmatch(r"[A-Za-z0-9._-]+", did.name)
        assert did.name not in (".", "..")


def test_a_version_is_told_from_a_name() -> None:
    assert names.parse_versioned(AOD) == (Did("mc11", AOD), None)
    assert names.parse_versioned(f"mc11:{AOD}@12") == (Did("mc11", AOD), 12)
    for text in (f"{AOD}@", f"{AOD}@0", f"{AOD}@01", f"{AOD}@x", f"{AOD}@٢", "@2", f"{AOD}@1@2", f"{AOD}@9999999999"):
        with pytest.raises(BadName):
            names.parse_versioned(text)


def test_a_file_name_may_be_longer_than_the_dataset_it_is_of() -> None:
    dataset = "mc11." + "x" * 195
    assert names.parse_did(dataset).name == dataset
    name = names.file_name(dataset, 7, 1)
    assert name.endswith("._000007.root.1")
    assert names.parse_file_did(name).name == name
    with pytest.raises(BadName):
        names.parse_file_did("mc11:" + "x" * 251)


@pytest.mark.parametrize(
    ("dataset", "extension"),
    [
        ("mc26.700001.Z.evgen.EVNT.v1", "root"),
        ("mc26.700001.Z.deriv.DAOD_PHYS.v1", "root"),
        ("mc26.700001.TXT.evgen.EVNT.v1", "root"),
        ("mc26.700001.Z.evgen.TXT.v1", "txt"),
        ("mc26.700001.Z.evgen.TXT.v1.unmerged", "txt"),
        ("mc26.700001.Z.evgen.LOG.v1", "log"),
        ("user.ada.limits.JSON.v1", "json"),
        ("user.ada.best", "root"),
    ],
)
def test_a_file_name_ends_as_its_format_does(dataset: str, extension: str) -> None:
    assert names.file_name(dataset, 7, 2) == f"{dataset}._000007.{extension}.2"


def test_paths_are_those_of_rucio() -> None:
    assert names.path_of(Did("foo", "bar")) == "foo/4e/99/bar"
    assert names.path_of(Did("user.foo", "bar")) == "user/foo/13/7f/bar"
    name = "csc11.005001.pythia_minbias.recon.AOD.v11004103._00001.pool.root.1"
    assert names.path_of(Did("csc11", name)) == f"csc11/32/bf/{name}"


@given(scope_texts, name_texts)
def test_no_path_leaves_its_storage(scope: str, name: str) -> None:
    path = names.path_of(names.parse_did(f"{scope}:{name}"))
    fields = path.split("/")
    assert all(fields)
    assert not {".", ".."} & set(fields)
    assert names.url_of("file:/data/", Did(scope, name)) == f"file:/data/{path}"


@pytest.mark.parametrize("suffix", ["", "_bnl", "_dis1234", "_sub.SITE-A-DISK"])
def test_facets_do_not_depend_on_what_a_system_appends(suffix: str) -> None:
    assert names.facets(AOD + suffix) == {
        "project": "mc11",
        "number": "007216",
        "physics": "singlepart_mu18",
        "step": "recon",
        "format": "AOD",
        "tags": "v11000303",
    }


def test_tags_of_later_years_keep_their_underscores() -> None:
    name = "mc20_13TeV.700320.Sh_2211_Zee.deriv.DAOD_PHYS.e8351_s3681_r13144_p5855"
    assert names.facets(name)["tags"] == "e8351_s3681_r13144_p5855"
    assert names.facets("user.ada.700320.Zee.reco.AOD.v1")["project"] == "user.ada"


field_texts = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)


project_texts = field_texts.filter(lambda text: text not in ("user", "group"))
number_texts = st.from_regex(r"[0-9]{5,8}", fullmatch=True)
tag_texts = st.from_regex(r"([a-z][0-9]{1,8})(_[a-z][0-9]{1,8}){0,4}", fullmatch=True)


@given(st.tuples(project_texts, number_texts, field_texts, field_texts, field_texts, tag_texts))
def test_the_fields_of_a_name_of_the_nomenclature_are_its_parts(fields: tuple[str, ...]) -> None:
    assert tuple(names.facets(".".join(fields)).values()) == fields


def test_a_name_of_today_has_the_same_fields() -> None:
    assert names.facets("mc20_13TeV.700320.Sh_2211_Zee.deriv.DAOD_PHYS.e8351_s3681_r13144_p6026") == {
        "project": "mc20_13TeV", "number": "700320", "physics": "Sh_2211_Zee", "step": "deriv", "format": "DAOD_PHYS",
        "tags": "e8351_s3681_r13144_p6026",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["user.ada.test", "mc11.007216.singlepart_mu18.recon.v11000303", "plain"])
def test_a_name_outside_the_nomenclature_has_no_facets(name: str) -> None:
    assert names.facets(name) == {}


def test_a_pattern_without_scope_goes_over_all_scopes() -> None:
    assert names.parse_pattern("mc11.*RDO*") == ("*", "mc11.*RDO*")
    assert names.parse_pattern("csc1?:*RDO*") == ("csc1?", "*RDO*")


@given(st.text("ab_%\\.*?", max_size=8), st.text("ab_%\\.", max_size=8))
def test_only_star_and_question_mark_are_wildcards(pattern: str, text: str) -> None:
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    assert like_matches(pattern, text) == expected
    if expected:
        assert text.startswith(names.literal_prefix(pattern))


def test_near_misses_name_the_closest_first() -> None:
    known = [AOD, AOD.replace("AOD", "ESD"), "csc11.005001.pythia_minbias.recon.AOD.v11004103"]
    assert names.near_misses(AOD.replace("recon", "reco").upper(), known)[0] == AOD
    assert names.near_misses("nothing like it", known) == []


def test_names_import_nothing_heavy() -> None:
    code = "import sys, prodchain.catalog.names; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlalchemy", "sqlmodel", "pydantic", "asyncpg", "fsspec"} & set(loaded)
