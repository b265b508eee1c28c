"""Settings: flag > environment variable PRODCHAIN_* > HOME/prodchain.toml > default."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from .client import default_home
from .errors import BrokerError

FILE = "prodchain.toml"
PREFIX = "PRODCHAIN_"


class BadSettings(BrokerError):
    """A setting that cannot be used; the object says where it comes from."""

    code = "bad-settings"
    status = 422


class Settings(BaseSettings):
    """What the parts of the system need to know before they start."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    home: Path = Field(default_factory=default_home, description="Home directory of the system.")
    url: str = Field("", description="URL of the broker's server; if empty, that of HOME/run/server.json.")
    database_url: str = Field(
        "", repr=False, description="PostgreSQL by postgresql:// URL; if empty, the embedded one of the home."
    )
    host: str = Field("127.0.0.1", description="Address that the server listens on.")
    port: int = Field(0, ge=0, le=65535, description="Port of the server; 0: a free one, kept over restarts.")
    public_read: bool = Field(True, description="Whether pages and lists can be read without a token.")
    lease_s: float = Field(15, gt=0, description="Seconds of a pilot's silence after which its job is lost.")
    heartbeat_s: float = Field(3, gt=0, description="Seconds between two reports of a pilot.")
    sent_s: float = Field(300, gt=0, description="Seconds that a pilot may have a job without starting it.")
    starting_s: float = Field(7200, gt=0, description="Seconds that a pilot may fetch a job's inputs.")
    overtime_s: float = Field(1800, gt=0, description="Seconds beyond a job's wall time before it counts as stuck.")
    holding_s: float = Field(7200, gt=0, description="Seconds that a pilot may store a job's outputs.")
    activated_s: float = Field(
        3600, gt=0, description="Seconds that a job may wait at a queue where no pilot that suits it is seen."
    )
    link_s: float = Field(
        600, gt=0, description="Seconds that a job's input may fail to come before another queue gets the job."
    )
    canary_s: float = Field(
        300, gt=0, description="Seconds from a queue's drain by its failures to the first try with one job."
    )
    decisions_days: float = Field(
        30,
        ge=0,
        description="Days that the brokerage's rounds and refusals are kept: so far back it can be replayed.",
    )
    movers: int = Field(8, ge=1, le=256, description="Files that the agents move at the same time.")
    prefect_port: int = Field(0, ge=0, le=65535, description="Port of the Prefect server; 0: a free one, kept.")
    prefect_api_url: str = Field("", description="API of a Prefect server of yours; if empty, one is started.")
    rucio_url: str = Field("", description="A Rucio server that records what the catalog has; if empty, none does.")
    rucio_account: str = Field("prodchain", description="Account at the Rucio server; its password: see the how-to.")
    token_file: Path | None = Field(None, description="Token to use; if empty, HOME/credentials/user.token.")

    @model_validator(mode="after")
    def _several_heartbeats_fit_into_a_lease(self) -> Self:
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError("heartbeat_s must be at most half of lease_s: one lost report must not lose a job")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = init_settings().get("home") or default_home()
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(home) / FILE)

    @property
    def server_url(self) -> str | None:
        """Where the broker's server answers: the setting, or the server that was started from this home."""
        if self.url:
            return self.url
        try:
            port = json.loads((self.home / "run" / "server.json").read_text())["port"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return f"http://127.0.0.1:{port}"


def load(home: Path | None = None, **flags: Any) -> Settings:
    """The settings of a home; flags that are None were not given. Raises BadSettings."""
    given = {name: value for name, value in flags.items() if value is not None}
    home = home or default_home()
    written = in_file(home / FILE)
    try:
        return Settings(home=home, **given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "heartbeat_s"
        if name not in Settings.model_fields:
            raise BadSettings(
                f"there is no setting {name!r}",
                object=f"{home / FILE}: {name}",
                hint="`prodchain config show` lists the settings",
            ) from None
        raise BadSettings(
            f"{name}: {first['msg'].removeprefix('Value error, ')}",
            object=origin(name, home, given, written),
            hint=f"{name}: {Settings.model_fields[name].description}",
        ) from None


def in_file(path: Path) -> dict[str, Any]:
    """What the settings file says; BadSettings names the line that is no TOML."""
    try:
        with path.open("rb") as file:
            written = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSettings(f"{path}: {error}", object=str(path), hint="write lines of the form: port = 8080") from None
    if "home" in written:
        raise BadSettings(
            "the home cannot be set by a file inside it",
            object=f"{path}: home",
            hint="remove the line; use --home or PRODCHAIN_HOME",
        )
    return written


def origin(name: str, home: Path, flags: Mapping[str, Any], written: Mapping[str, Any]) -> str:
    if name in flags:
        return f"flag --{name.replace('_', '-')}"
    variable = PREFIX + name.upper()
    if os.environ.get(variable):
        return f"environment {variable}"
    return f"file {home / FILE}" if name in written else "default"


@dataclass(frozen=True)
class Shown:
    """A setting as it may be printed: passwords are masked."""

    name: str
    value: str | int | float | bool | None
    origin: str
    description: str


def explain(home: Path | None = None, **flags: Any) -> list[Shown]:
    """Every setting with its value and where it comes from."""
    settings = load(home, **flags)
    given = {name: value for name, value in flags.items() if value is not None}
    if home is not None and home != default_home():
        given["home"] = home
    written = in_file(settings.home / FILE)
    return [
        Shown(name, printable(name, getattr(settings, name)), origin(name, settings.home, given, written), about)
        for name, about in ((name, field.description or "") for name, field in Settings.model_fields.items())
    ]


def printable(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return mask(value) if name.endswith("url") and value else value


def mask(url: str) -> str:
    """The URL without its passwords, whether they stand before the host or in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    credentials, at, place = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    netloc = f"{user}:***{at}{place}" if colon else parts.netloc
    query = "&".join(
        f"{key}=***" if "password" in key.lower() else f"{key}{equals}{value}"
        for key, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    return urlunsplit(parts._replace(netloc=netloc, query=query))
