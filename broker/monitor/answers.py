"""A document as an answer: a page, the JSON of the same document (``?json``), or "not changed"."""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from . import assets, formats, gantt, links, shapes

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "private, no-cache",
}
"""Names, logs and errors come from users: even one that got through unescaped could load and run nothing."""

_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters |= formats.FILTERS
_environment.globals |= {
    "GLYPHS": formats.GLYPHS,
    "asset": assets.address,
    "between": formats.between,
    "changed": shapes.changed,
    "chart": gantt.chart,
    "command": links.command,
    "dataset_page": links.dataset_page,
    "listed": links.listed,
    "now": formats.current,
    "FIELDS": links.FIELDS,
    "percent": formats.percent,
    "refused": shapes.refused,
    "runs": shapes.runs,
    "segments": shapes.segments,
    "site_page": links.site_page,
    "steps": shapes.steps,
    "timeline": shapes.timeline,
}


def answer(request: Request, template: str, document: Mapping[str, Any], status: int = 200) -> Response:
    """The page that ``template`` makes of the document, or the document itself if the address says ``json``."""
    content = json.dumps(document, default=_plain, ensure_ascii=False, allow_nan=False).encode()
    if "json" in request.query_params:
        kind = "application/json" if status < 400 else "application/problem+json"
        return Response(content, status, {"Cache-Control": "private, no-cache"}, kind)
    tag = _tag(content, template, str(request.url))
    if request.headers.get("If-None-Match") == tag:  # an open page asks every other second
        return Response(status_code=304, headers={"ETag": tag})
    page = _environment.get_template(template).render(
        document,
        here=links.here(request.url.path, request.query_params),
        path=request.url.path,
        query=request.query_params,
    )
    return Response(page, status, HEADERS | {"ETag": tag}, "text/html")


def _tag(content: bytes, *more: str) -> str:
    """Of the document, not of the page: relative times differ each second, and live.js keeps them going itself."""
    return '"' + blake2b("\n".join((assets.VERSION, *more)).encode() + content, digest_size=12).hexdigest() + '"'


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
