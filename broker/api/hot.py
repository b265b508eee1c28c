"""Routes that many thousand calls a second go to: declared as any other, served without the framework.

A call's way: uvicorn, ``HotApp``, the route. The policy is the very one that the endpoint declares, the body is
decoded by msgspec into the message that it names first, and what it returns are the bytes of the answer. Whatever is
refused goes the long way, through the envelope and the tables of problems.
"""

import itertools
import json
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Annotated, Any, TypeAlias, get_args, get_origin, get_type_hints

import msgspec
from fastapi import FastAPI, Request
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import BadRequest
from .envelope import LARGEST_BODY, Envelope
from .policies import Access

Endpoint: TypeAlias = Callable[..., Coroutine[Any, Any, bytes]]
HINT = "correct the field; /openapi.json describes what each call takes"

_HEADERS = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))
_RUN, _NUMBERS = secrets.token_hex(8), itertools.count(1)


class HotRoute(APIRoute):
    """Its endpoint takes a message, the caller and the request, and returns the answer's bytes."""

    def __init__(self, path: str, endpoint: Endpoint, **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        message, caller, *_ = get_type_hints(endpoint, include_extras=True).values()
        assert get_origin(caller) is Annotated
        depends = get_args(caller)[1]
        assert isinstance(depends, Depends)
        assert isinstance(depends.dependency, Access)
        self._answer = endpoint
        self._policy = depends.dependency
        self._decoder = msgspec.json.Decoder(message, strict=False)
        self._message = message
        self.app = self.serve

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        caller = await self._policy(request)
        message = self._decode(await _body(receive))
        answer = await self._answer(message, caller, request)
        name = f"{_RUN}{next(_NUMBERS):016x}".encode()
        length = (b"content-length", b"%d" % len(answer))
        headers = (*_HEADERS, length, (b"x-request-id", name))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _decode(self, body: bytes) -> Any:
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _bad(error) from None
        except msgspec.DecodeError:
            return self._decode_python(body)

    def _decode_python(self, body: bytes) -> Any:
        """Python's own writer, which pilots have, writes what the standard forbids: NaN, halves of surrogates."""
        try:
            return msgspec.convert(json.loads(body), self._message, strict=False)
        except msgspec.ValidationError as error:
            raise _bad(error) from None
        except ValueError as error:
            raise BadRequest(f"the body is no JSON: {error}", object="request", hint=HINT) from None


class HotApp(FastAPI):
    """Calls of its ``hot`` routes, by path, go past all that surrounds the others."""

    hot: Mapping[str, HotRoute] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self.hot.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None or scope["query_string"]:
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        scope.setdefault("state", {})
        try:
            await route.serve(scope, receive, send)
        except Exception as error:
            await Envelope(ExceptionMiddleware(_raising(error), self.exception_handlers))(scope, receive, send)


def _raising(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise HTTPException(413, f"a request may have {LARGEST_BODY} bytes at most")
    return body


def _bad(error: msgspec.ValidationError) -> BadRequest:
    """Named by the field: ``Expected `int`, got `str` - at `$.cores```."""
    words, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".") or "request"
    return BadRequest(f"{field}: {words}", object=field, hint=HINT)
