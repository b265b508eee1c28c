"""Every error as one kind of answer: problem+json (RFC 9457) with a stable code, the object and a hint."""

import json
import logging
from http import HTTPStatus

import asyncpg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from prodchain.catalog.errors import CatalogError

from ..errors import BrokerError
from ..mistakes import mistakes
from ..monitor.failures import failure

log = logging.getLogger("prodchain.server")

SHOWN = 5
"""Mistakes of one request that are told at once."""
LONGEST = 5000
"""Characters of a sentence: what was sent is quoted, and may be long."""


def problem(
    request_id: str,
    status: int,
    code: str,
    detail: str,
    about: str,
    hint: str,
    headers: dict[str, str] | None = None,
) -> Response:
    document = {
        "type": f"urn:prodchain:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:LONGEST],
        "code": code,
        "object": about[:LONGEST],
        "hint": hint,
        "instance": request_id,
    }
    return Response(json.dumps(document), status, headers=headers, media_type="application/problem+json")


def _our_own(request: Request, error: Exception) -> Response:
    assert isinstance(error, BrokerError | CatalogError)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(error.status)
    return problem(request.state.request_id, error.status, error.code, str(error), error.object, error.hint, headers)


def _invalid(request: Request, error: Exception) -> Response:
    """Mistakes are named by field; what was sent is not repeated, since it may hold secrets."""
    assert isinstance(error, RequestValidationError)
    body = getattr(request.scope.get("route"), "body_field", None)
    found = mistakes(
        ({**each, "loc": each["loc"][1:]} for each in error.errors()), body and body.field_info.annotation
    )
    shown = "; ".join(f"{field}: {sentence}" if field else sentence for field, sentence in found[:SHOWN])
    more = len(found) - SHOWN
    return problem(
        request.state.request_id,
        422,
        "bad-request",
        shown + (f"; and {more} more" if more > 0 else ""),
        next((field for field, _ in found if field), "request"),
        "correct the field; /openapi.json describes what each call takes",
    )


def _of_http(request: Request, error: Exception) -> Response:
    """Errors of the framework: unknown routes, wrong methods, bodies that are no JSON or too large."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404 and "text/html" in request.headers.get("accept", ""):
        return failure(request, error)  # somebody mistyped the address of a page
    code, hint = {
        404: ("no-such-route", "/openapi.json lists the routes"),
        405: ("method-not-allowed", f"this route takes {(error.headers or {}).get('Allow', 'another method')}"),
        413: ("too-large", "send it in several requests"),
    }.get(error.status_code, (f"http-{error.status_code}", "/openapi.json describes what each call takes"))
    about = request.url.path
    return problem(
        request.state.request_id, error.status_code, code, str(error.detail), about, hint, dict(error.headers or {})
    )


def _database_away(request: Request, error: Exception) -> Response:
    log.warning("%s database: %s: %s", request.state.request_id, type(error).__name__, error)
    return problem(
        request.state.request_id,
        503,
        "unavailable",
        "the database does not answer now",
        "database",
        "try again in a moment; `prodchain status` shows what is down",
        {"Retry-After": "1"},
    )


def _bad_value(request: Request, error: Exception) -> Response:
    """A value that the types of the database exclude, such as a zero byte in a text."""
    return problem(
        request.state.request_id,
        422,
        "bad-request",
        f"a value cannot be stored: {str(error).splitlines()[0]}",
        "request",
        "numbers must fit their column, texts hold no zero bytes",
    )


AWAY = (
    ConnectionError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.QueryCanceledError,
)


def install(app: FastAPI) -> None:
    app.add_exception_handler(BrokerError, _our_own)
    app.add_exception_handler(CatalogError, _our_own)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(asyncpg.DataError, _bad_value)
    for kind in AWAY:
        app.add_exception_handler(kind, _database_away)
