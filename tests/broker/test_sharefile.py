"""The declaration of shares, and the first mistake in it."""

import pytest

from prodchain.broker.errors import BadRequest
from prodchain.broker.sharefile import ShareSpec, parse

TREE = """
[share.production]
value = 70
match = {activity = "production"}

[share.higgs]
parent = "production"
value = 3
match = {group = "higgs*"}

[share.analysis]
value = 30
"""


def test_shares_are_read_in_their_order() -> None:
    production, higgs, analysis = parse(TREE, "tree.toml")
    assert higgs == ShareSpec(name="higgs", value=3, parent="production", match={"group": "higgs*"})
    assert (production.name, analysis.match) == ("production", {})


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("value = 3\n", "value = -3\n", "tree.toml:8: share higgs: value: "),
        ("value = 3\n", 'value = "a"\n', "tree.toml:8: share higgs: value: "),
        ("value = 3\n", "", "tree.toml:6: share higgs: value: is missing"),
        ('{group = "h', '{campaign = "h', "tree.toml:9: share higgs: match.campaign"),
        ('parent = "production"', 'parent = "top"', "tree.toml:6: share higgs has no parent 'top'"),
        ('parent = "production"', 'parent = "higgs"', "share higgs is below itself (higgs < higgs)"),
        ("[share.analysis]", '[share."a b"]', "tree.toml:11: share a b: name: "),
        ("[share.analysis]", "[shares.analysis]", "'shares' is no table of shares"),
        ("value = 30", "value =", "tree.toml: "),
    ],
)
def test_a_mistake_is_named_with_its_line(before: str, after: str, says: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(TREE.replace(before, after, 1), "tree.toml")
    assert says in str(refused.value)


def test_a_document_without_shares_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"new\.toml: there is no table"):
        parse("", "new.toml")
