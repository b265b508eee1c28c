"""The REST client: tokens, Rucio's words in our errors, servers that are not there."""

from pathlib import Path

import pytest

from prodchain.catalog.backends.credentials import VARIABLE
from prodchain.catalog.errors import BadStorage, ExternalCatalog, ExternalDenied, ExternalUnreachable
from prodchain.catalog.rucio.client import Client

from ...storages.rucio import ACCOUNT, PASSWORD, USERNAME, RucioServer


async def test_a_wrong_password_is_denied_in_rucios_words_and_told_to_nobody(rucio_server: RucioServer) -> None:
    secrets = {"username": USERNAME, "password": "hunter2"}
    async with Client(rucio_server.url, ACCOUNT, lambda: secrets) as client:
        with pytest.raises(ExternalDenied, match="Cannot authenticate to account root") as caught:
            await client.call("GET", "scopes", "", about="scopes")
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.object}"


async def test_credentials_are_read_from_the_storages_file(
    rucio_server: RucioServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text(PASSWORD + "\n")
    file = tmp_path / "storages.toml"
    file.write_text(f'["{rucio_server.url}"]\nusername = "{USERNAME}"\npassword_file = "{tmp_path / "secret"}"\n')
    file.chmod(0o600)
    monkeypatch.setenv(VARIABLE, str(file))
    async with Client(rucio_server.url + "/", ACCOUNT) as client:
        await client.call("GET", "scopes", "", about="scopes")


async def test_without_credentials_the_hint_says_where_they_go(
    rucio_server: RucioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PRODCHAIN_HOME", raising=False)
    monkeypatch.delenv(VARIABLE, raising=False)
    async with Client(rucio_server.url, ACCOUNT) as client:
        with pytest.raises(ExternalDenied) as caught:
            await client.call("GET", "scopes", "", about="scopes")
    assert rucio_server.url in caught.value.hint


async def test_a_token_that_ran_out_is_renewed(rucio_server: RucioServer) -> None:
    asked = 0

    def secrets() -> dict[str, str]:
        nonlocal asked
        asked += 1
        return {"username": USERNAME, "password": PASSWORD}

    async with Client(rucio_server.url, ACCOUNT, secrets) as client:
        await client.call("GET", "scopes", "", about="scopes")
        client._token = "root-ddmlab-unknown-gone"
        await client.call("GET", "scopes", "", about="scopes")
        await client.call("GET", "scopes", "", about="scopes")
    assert asked == 2


async def test_a_token_of_ones_own_is_used_as_it_is(rucio_server: RucioServer, client: Client) -> None:
    await client.call("GET", "scopes", "", about="scopes")
    token = client._token
    async with Client(rucio_server.url, ACCOUNT, lambda: {"token": token}) as other:
        await other.call("GET", "scopes", "", about="scopes")


async def test_refusals_carry_rucios_words(client: Client, tag: str) -> None:
    with pytest.raises(ExternalCatalog, match=r"disk-x.*InvalidObject") as caught:
        await client.call("POST", "rses", "disk-x", about="disk-x", body={"deterministic": True})
    assert caught.value.object == "disk-x"
    with pytest.raises(BadStorage, match="RSENotFound"):
        await client.call("POST", "replicas", about=tag, body={"rse": tag.upper(), "files": []})


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    async with Client("http://127.0.0.1:9", ACCOUNT, lambda: {"token": "t"}) as client:
        with pytest.raises(ExternalUnreachable) as caught:
            await client.call("GET", "scopes", "", about="scopes")
    assert caught.value.object == "scopes"
