"""Routes that many thousand calls a second go to: declared as any other, served without the framework.

A call's way: the protocol (``wire``) and the route; what is long, or not alone on its connection, ``HotApp`` brings
there. The policy is the very one that the endpoint declares, the body is decoded by msgspec into the message that it
names first, and what it returns are the bytes of the answer. Whatever is refused goes the long way, through the
envelope and the tables of problems.
"""

import asyncio
import itertools
import json
import secrets
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from fastapi import FastAPI, Request
from fastapi.params import Depends
from fastapi.routing import APIRoute
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import BadRequest, Busy
from ..tokens import Caller
from .envelope import LARGEST_BODY, Envelope
from .parts import Parts, parts_of
from .policies import Access, bearer
from .refusals import Refusals

Message = TypeVar("Message")
Endpoint: TypeAlias = Callable[..., Coroutine[Any, Any, bytes]]
HINT = "correct the field; /openapi.json describes what each call takes"
OTHERS = 256
"""Calls of other routes that are under way at once; each waits for one of a few connections to the database."""
LARGE = 32
"""Bodies of hot calls that are read at once, of those that come in several parts."""
BODY_S = 30.0
"""How long such a body may take."""

_HEADERS = ((b"content-type", b"application/json"), (b"x-content-type-options", b"nosniff"))
_RUN, _NUMBERS = secrets.token_hex(8), itertools.count(1)


class Text(Generic[Message]):
    """A message that is read only where its text is not known already. The API describes it as the message."""

    __slots__ = ("body", "read")

    def __init__(self, body: bytes, read: Callable[[], Message]) -> None:
        self.body = body
        self.read = read

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler(*get_args(source))


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
        self._as_text = get_origin(message) is Text
        self._message = get_args(message)[0] if self._as_text else message
        self._decoder = msgspec.json.Decoder(self._message, strict=False)
        self.app = self.serve

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        caller = await self._admit(request)  # before the body, which may be large, is read
        answer = await self._answered(request, caller, await _body(receive))
        await send({"type": "http.response.start", "status": 200, "headers": head_of(answer)})
        await send({"type": "http.response.body", "body": answer})

    async def answer(self, scope: Scope, receive: Receive, body: bytes) -> bytes:
        """To a call whose body is known; ``receive`` waits until its pilot hangs up."""
        request = Request(scope, receive)
        return await self._answered(request, await self._admit(request), body)

    async def _admit(self, request: Request) -> Caller:
        scope = request.scope
        return await self._policy.admit(parts_of(request).tokens, bearer(_authorization(scope)), scope)

    async def _answered(self, request: Request, caller: Caller, body: bytes) -> bytes:
        message = Text(body, partial(self._decode, body)) if self._as_text else self._decode(body)
        return await self._answer(message, caller, request)

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

    hot: Mapping[bytes, HotRoute] = {}
    parts: Parts
    """While it runs."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._refusals = Refusals()
        self._others = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        simple = scope["type"] == "http" and scope["method"] == "POST" and not scope["query_string"]
        route = self.hot.get(scope["path"].encode()) if simple else None
        if route is None:
            await self._long_way(scope, receive, send)
            return
        scope["app"] = self
        scope.setdefault("state", {})
        try:
            await route.serve(scope, receive, send)
        except Exception as error:
            await self.refuse(error, scope, receive, send)

    async def refuse(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a hot call with what is wrong."""
        if isinstance(error, Busy):
            await self._refusals.answer(error, _request_id(), scope, receive, send)
        else:
            await Envelope(ExceptionMiddleware(_raising(error), self.exception_handlers))(scope, receive, send)

    async def _long_way(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._others >= OTHERS and scope["type"] == "http":
            error = Busy("too many calls are under way", object="calls", hint="repeat it in a moment")
            await self._refusals.answer(error, _request_id(), scope, receive, send)
            return
        self._others += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._others -= 1


def head_of(answer: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """The headers that go with it."""
    return (*_HEADERS, (b"content-length", b"%d" % len(answer)), (b"x-request-id", _request_id().encode()))


def _request_id() -> str:
    return f"{_RUN}{next(_NUMBERS):016x}"


def _raising(error: Exception) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


def _authorization(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value, "latin-1")
    return None


_large = 0


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    return await _rest(receive, body) if message.get("more_body") else body


async def _rest(receive: Receive, first: bytes) -> bytes:
    """Of a body in several parts; those who send slowly must not fill the memory."""
    global _large  # noqa: PLW0603 - of the process, as its memory is
    if _large >= LARGE:
        raise Busy("too many large requests come at once", object="large requests", hint="repeat it in a moment")
    _large += 1
    body, more = bytearray(first), True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > LARGEST_BODY:
                    raise HTTPException(413, f"a request may have {LARGEST_BODY} bytes at most")
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {BODY_S:.0f} s") from None
    finally:
        _large -= 1
    return bytes(body)


def _bad(error: msgspec.ValidationError) -> BadRequest:
    """Named by the field: ``Expected `int`, got `str` - at `$.cores```."""
    words, _, place = str(error).partition(" - at ")
    field = place.strip("`").removeprefix("$").removeprefix(".") or "request"
    return BadRequest(f"{field}: {words}", object=field, hint=HINT)
