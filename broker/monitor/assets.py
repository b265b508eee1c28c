"""The files that pages load, all of them ours: no page asks another server for anything."""

import mimetypes
from hashlib import blake2b
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
FILES = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir())}
VERSION = blake2b(b"".join(FILES.values()), digest_size=6).hexdigest()
"""Part of each address, so that browsers may keep the files for good and still get new ones."""


def address(name: str) -> str:
    return f"/static/{name}?v={VERSION}"


async def file(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in FILES:
        raise HTTPException(404, f"no file {name}")
    kept = "public, max-age=31536000, immutable" if request.query_params.get("v") == VERSION else "no-cache"
    return Response(
        FILES[name],
        media_type=mimetypes.guess_type(name)[0],
        headers={"Cache-Control": kept, "X-Content-Type-Options": "nosniff"},
    )


async def favicon(request: Request) -> Response:
    """For browsers that ask without looking at the page, as they do for JSON."""
    return Response(FILES["logo.svg"], media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"})


def assets() -> APIRouter:
    """Public: they hold nothing of the production."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/static/{name}", file, methods=["GET"])
    router.add_api_route("/favicon.ico", favicon, methods=["GET"])
    return router
