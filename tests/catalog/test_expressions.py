"""Storage expressions: what is read is what is meant, and what cannot be meant is refused with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.catalog import expressions
from prodchain.catalog.errors import BadExpression
from prodchain.catalog.expressions import And, Expression, Match, Not, Or
from prodchain.catalog.models import Storage, StorageKind

STORAGES = [
    Storage(id=1, name="BNL-DISK", site="BNL", url="", attributes={"cloud": "US", "tier": "1"}),
    Storage(id=2, name="BNL-TAPE", site="BNL", url="", kind=StorageKind.TAPE, attributes={"cloud": "US"}),
    Storage(id=3, name="DESY-DISK", site="DESY", url="", attributes={"cloud": "DE", "tier": "2"}),
    Storage(id=4, name="LAPTOP", site="HOME", url=""),
]


def names(text: str) -> list[str]:
    return [storage.name for storage in expressions.select(text, STORAGES)]


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("*", ["BNL-DISK", "BNL-TAPE", "DESY-DISK", "LAPTOP"]),
        ("LAPTOP", ["LAPTOP"]),
        ("BNL-*", ["BNL-DISK", "BNL-TAPE"]),
        ("*-DISK", ["BNL-DISK", "DESY-DISK"]),
        ("site=BNL & kind=disk", ["BNL-DISK"]),
        ("cloud=US&!kind=tape|cloud=DE", ["BNL-DISK", "DESY-DISK"]),
        ("!cloud=*", ["LAPTOP"]),
        ("!cloud=US", ["DESY-DISK", "LAPTOP"]),
        ("tier=1 | tier=2 & cloud=US", ["BNL-DISK"]),
        ("(tier=1 | tier=2) & cloud = DE", ["DESY-DISK"]),
        ("! ( ! ( LAPTOP ) )", ["LAPTOP"]),
    ],
)
def test_it_picks_what_it_says(text: str, chosen: list[str]) -> None:
    assert names(text) == chosen


@pytest.mark.parametrize(
    ("text", "at", "what"),
    [
        ("", 1, "its end where a storage's name"),
        ("   ", 4, "its end"),
        ("cloud=", 7, "a value of cloud"),
        ("cloud=US &", 11, "its end"),
        ("& BNL", 1, "has '&'"),
        ("BNL DESY", 5, "has 'DESY' where '&', '|' or the end"),
        ("(BNL | DESY", 12, "where ')' is expected"),
        ("BNL)", 4, "has ')'"),
        ("cloud==US", 7, "has '='"),
        ("!" * 60 + "BNL", 51, "at most 50"),
    ],
)
def test_a_mistake_is_shown_at_its_character(text: str, at: int, what: str) -> None:
    with pytest.raises(BadExpression) as refused:
        expressions.parse(text)
    words = str(refused.value)
    assert f"at character {at}:" in words
    assert what in words
    assert words.splitlines()[-1] == " " * (at - 1) + "^"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("clout=DE", "no storage has a 'clout', in 'clout=DE': did you mean cloud?", "name, site, kind, cloud, tier"),
        ("!BNL-DISC", "no storage has the name 'BNL-DISC', in '!BNL-DISC': did you mean BNL-DISK?", "LAPTOP"),
        ("LAPTOP & cloud=US", "no storage fits 'LAPTOP & cloud=US'", "BNL-DISK"),
        ("cloud=FR | LAPTOP", "no storage has the cloud 'FR'", "there are: DE, US"),
    ],
)
def test_what_no_storage_can_be_is_refused_with_what_is_near(text: str, what: str, hint: str) -> None:
    with pytest.raises(BadExpression) as refused:
        expressions.select(text, STORAGES)
    assert what in str(refused.value)
    assert hint in refused.value.hint


def test_a_very_long_one_is_refused() -> None:
    with pytest.raises(BadExpression, match="1000 characters at most"):
        expressions.parse("BNL|" * 1000 + "BNL")


words = st.text(st.sampled_from("abAB09._-*"), min_size=1, max_size=6)
keys = st.sampled_from(["name", "site", "kind", "cloud", "tier"])
trees: st.SearchStrategy[Expression] = st.recursive(
    st.builds(Match, keys, words | st.sampled_from(["BNL*", "*DISK", "US", "DE", "1", "*"])),
    lambda inner: st.builds(Not, inner) | st.builds(And, inner, inner) | st.builds(Or, inner, inner),
    max_leaves=12,
)


@given(trees)
def test_what_is_printed_is_read_again_as_the_same(tree: Expression) -> None:
    assert expressions.parse(str(tree)) == tree
    assert expressions.parse(str(tree).replace(" ", "")) == tree


@given(trees, trees, st.sampled_from(STORAGES))
def test_the_laws_of_logic_hold(a: Expression, b: Expression, storage: Storage) -> None:
    """Against Python's own operators, by way of the text."""

    def value(text: str) -> bool:
        return expressions.fits(expressions.parse(text), storage)

    x, y = expressions.fits(a, storage), expressions.fits(b, storage)
    assert value(f"({a}) & ({b})") == (x and y)
    assert value(f"({a}) | ({b})") == (x or y)
    assert value(f"!({a})") == (not x)
    assert value(f"!({a} | {b})") == value(f"!({a}) & !({b})")
    assert value(f"({a}) | ({a}) & ({b})") == x


@given(st.text(st.sampled_from("ab*=&|!() "), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        expression = expressions.parse(text)
    except BadExpression:
        return
    assert expressions.parse(str(expression)) == expression
