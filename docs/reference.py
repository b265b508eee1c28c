"""Writes docs/reference/ from the code: commands, settings, errors, routes. ``python docs/reference.py``

tests/docs says whether the pages are current.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, cast

from commands import Row, cli, table
from fastapi.routing import iter_route_contexts

FOLDER = Path(__file__).parent / "reference"
TREES = (
    ("broker", "prodchain.broker.errors", "BrokerError"),
    ("catalog", "prodchain.catalog.errors", "CatalogError"),
    ("command line", "prodchain.cli.errors", "CliError"),
    ("flows", "prodchain.flows.errors", "ChainError"),
    ("steps", "prodchain.tasks.errors", "StepError"),
    ("pilot", "prodchain.pilot_agent.errors", "PilotError"),
)
DEFINED_ELSEWHERE = ("prodchain.broker.settings", "prodchain.broker.tokens", "prodchain.cli.local.supervisor")
"""Modules that add errors of their own to a tree."""
TOKENS = {
    "TokenMissing": "a call that needs a token brought none",
    "TokenUnknown": "a token that this broker did not issue, or no bearer token at all",
    "TokenExpired": "the token was good until the time that the message names",
}
FRAMEWORK = (
    ("no-such-route", "404", "no route has this address"),
    ("method-not-allowed", "405", "the route takes another method"),
    ("too-large", "413", "the body is too large"),
    ("unreachable", "-", "the client got no answer from the broker"),
    ("timed-out", "-", "the broker did not answer the client in time; what was asked for may still happen"),
)
NOTE = "<!-- Written by docs/{script}.py from the code; change the code, then run it. -->\n"


def pages() -> dict[Path, str]:
    """The pages and what must be in them."""
    made = {"cli": cli(), "configuration": configuration(), "errors": errors(), "api": api()}
    return {FOLDER / f"{name}.md": NOTE.format(script="reference") + text for name, text in made.items()}


# Settings


def configuration() -> str:
    from prodchain.broker.settings import PREFIX, Settings

    rows: list[Row] = []
    for name, field in Settings.model_fields.items():
        default = (
            "`PRODCHAIN_HOME`, or your data home" if field.default_factory else f"`{str(field.default).lower()}`"
        )
        if field.default in ("", None) and not field.default_factory:
            default = "empty"
        kind = str(getattr(field.annotation, "__name__", field.annotation)).replace("pathlib._local.", "")
        kind = "path" if "Path" in kind else {"str": "text", "int": "number", "float": "number"}.get(kind, kind)
        kind = {"bool": "true or false"}.get(kind, kind)
        rows.append((f"`{name}`", f"`{PREFIX}{name.upper()}`", kind, default, field.description or ""))
    return "\n".join(
        [
            "# Settings\n",
            "A flag beats an environment variable, that beats the file `HOME/prodchain.toml`, that beats the default."
            " `prodchain config show` prints every value with its origin; passwords are masked. The file holds lines"
            " such as `port = 8080`; an unknown name is an error that names the line. The home cannot be set by the"
            " file inside it. `heartbeat_s` is at most half of `lease_s`, so that one lost report loses no job."
            " `PRODCHAIN_DEBUG=1` adds a traceback to errors.\n",
            table(("setting", "environment", "type", "default", "meaning"), rows),
        ]
    )


# Errors


def errors() -> str:
    for module in DEFINED_ELSEWHERE:
        import_module(module)
    parts = [
        "# Errors\n",
        "Every error says what is wrong, which object it is about, and what to do. On the command line it is three"
        " lines on standard error, or one JSON document with `--json`; from the API it is a problem document"
        " (RFC 9457) with `code`, `object`, `hint` and the request's id as `instance`. Codes are stable.\n",
    ]
    for folder, module, root in TREES:
        tree = import_module(module)
        rows = [
            (f"`{kind.code}`", str(getattr(kind, "status", "-")), str(exit_of(kind)), meaning(kind, tree))
            for kind in sorted(below(getattr(tree, root)), key=lambda kind: str(kind.code))
        ]
        parts += [f"## {folder.capitalize()}\n", table(("code", "HTTP status", "exit code", "meaning"), rows)]
    others = [(f"`{code}`", status, meaning) for code, status, meaning in FRAMEWORK]
    parts += ["## HTTP and the way to the server\n", table(("code", "HTTP status", "meaning"), others)]
    return "\n".join(parts)


def below(root: Any) -> list[Any]:
    """All errors of a tree but its root, which nobody raises."""
    return [kind for each in root.__subclasses__() for kind in (each, *below(each))]


def exit_of(kind: Any) -> int | str:
    from prodchain.cli.errors import exit_code_of

    if kind.__module__.startswith(("prodchain.pilot_agent", "prodchain.tasks")):
        return "-"
    return exit_code_of(kind("", object="", hint=""))


def meaning(kind: Any, tree: Any) -> str:
    """From the class, or from its line in the tree that the module's docstring draws."""
    if kind.__doc__ and "__doc__" in vars(kind):
        said = str(kind.__doc__).splitlines()[0].rstrip(".")
        return said[:1].lower() + said[1:]
    for line in (tree.__doc__ or "").splitlines():
        words = line.split(None, 1)
        if len(words) == 2 and words[0] == kind.__name__:
            return str(words[1].partition("   ")[0].strip())
    return TOKENS[kind.__name__]


# Routes


def api() -> str:
    from prodchain.broker.api.app import create_app
    from prodchain.broker.settings import Settings

    app = create_app(Settings(home=Path("/nowhere")), cast(Any, None), cast(Any, None))
    calls: list[Row] = []
    shown: list[Row] = []
    for route in iter_route_contexts(app.routes):
        for method in sorted((route.methods or set()) - {"HEAD"}):
            row = (f"`{method} {route.path}`", policy(getattr(route, "dependant", None)), str(summary(route)))
            (calls if str(route.path).startswith(("/api", "/pilot")) else shown).append(row)
    return "\n".join(
        [
            "# HTTP API\n",
            "JSON in, JSON out. `GET /openapi.json` describes each call to programs: parameters, bodies, answers."
            ' Lists answer `{"items": [...], "next": mark or null}`; send `next` as `after` for the next page.'
            " [Errors](errors.md) are problem documents. A token goes into the header"
            " `Authorization: Bearer TOKEN`; pages may bring one in the cookie `prodchain_token`, to read only.\n",
            table(
                ("policy", "who may call"),
                [
                    ("public", "anybody"),
                    ("reader", "anybody where reading is free (`public_read`), else users and admins"),
                    ("user", "users and admins; verbs on a thing: its owner and admins"),
                    ("pilot", "pilots, each for the queue of its token"),
                    ("admin", "admins"),
                ],
            ),
            "## Calls\n",
            table(("route", "policy", "what"), sorted(calls, key=lambda row: row[0].split()[1])),
            "## Pages\n",
            "With `?json` a page answers with the document that it shows.\n",
            table(("route", "policy", "what"), sorted(shown, key=lambda row: row[0].split()[1])),
        ]
    )


def policy(dependant: Any) -> str:
    found = getattr(getattr(dependant, "call", None), "policy", None)
    return str(found) if found else "".join(policy(part) for part in getattr(dependant, "dependencies", ()))


def summary(route: Any) -> str:
    said = getattr(route, "summary", None) or (getattr(route.endpoint, "__doc__", None) or "").split("\n")[0]
    return said or str(getattr(route, "name", "")).replace("_", " ")


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
