"""What is asked for, and what answers: the page and its live part, metrics, health. All of it only reads."""

from __future__ import annotations

import logging
from importlib import resources
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dicomsync import facts, secrecy
from dicomsync.concerns import Level
from dicomsync.web import metrics, page
from dicomsync.web.outlook import Outlook

log = logging.getLogger("dicomsync.web")

_FILES = {"page.css": "text/css", "page.js": "text/javascript"}
_COLOURS = {Level.WELL: "#1a7f37", Level.NOTE: "#1a7f37", Level.PERSON: "#d29922", Level.WRONG: "#d1242f"}


def application(outlook: Outlook, *, reveals: bool) -> Starlette:
    """Make the application; only one that `reveals` ever gives names and paths, and only if asked."""
    texts = {name: resources.files(__package__).joinpath("files", name).read_bytes() for name in _FILES}

    # Plain functions: they wait on the ledger's disk, and run in threads.

    def whole(request: Request) -> Response:
        view = outlook.view(names=reveals and _names_wanted(request))
        return Response(page.whole(view, reveals=reveals), media_type="text/html")

    def live(request: Request) -> Response:
        if _names_wanted(request) and not reveals:
            return PlainTextResponse("Names need a token: token_from in [web] of the config.\n", 403)
        return Response(page.live(outlook.view(names=_names_wanted(request))), media_type="text/html")

    def status(_request: Request) -> Response:
        view = outlook.view()
        if view.facts is None:
            return JSONResponse({"error": view.problem, "hint": view.hint}, 503)
        return JSONResponse(facts.for_operators(view.facts))

    def measured(_request: Request) -> Response:
        text, _ = metrics.exposition(outlook.ledger)
        return Response(text, media_type=metrics.CONTENT_TYPE)

    def healthy(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    def ready(_request: Request) -> Response:
        words = unready(outlook.view().facts)
        return PlainTextResponse(f"{words or 'ok'}\n", 503 if words else 200)

    def file(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        return Response(texts[name], media_type=_FILES[name])

    def icon(request: Request) -> Response:
        colour = _COLOURS.get(request.path_params["level"], _COLOURS[Level.WRONG])
        dot = f'<circle cx="8" cy="8" r="7" fill="{colour}"/>'
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">{dot}</svg>'
        return Response(svg, media_type="image/svg+xml")

    return Starlette(
        routes=[
            Route("/", whole),
            Route("/live", live),
            Route("/api/status", status),
            Route("/metrics", measured),
            Route("/healthz", healthy),
            Route("/readyz", ready),
            Route("/icon/{level}.svg", icon),
            *(Route(f"/{name}", file) for name in _FILES),
        ],
        exception_handlers={Exception: _broken},
    )


def _broken(_request: Request, error: Exception) -> Response:
    """Say that the error is ours, and where it is; what it says may hold names."""
    log.error("something went wrong inside dicomsync (%s); please report this", secrecy.where(error))
    words = f"Something went wrong inside dicomsync ({secrecy.where(error)}). Please report this."
    return PlainTextResponse(f"{words}\n", 500)


def _names_wanted(request: Request) -> bool:
    return request.query_params.get("names") == "1"


def unready(found: dict[str, Any] | None) -> str:
    """Say why new files would not be taken in now: no daemon, or no usable ledger; "" if they would.

    An archive that is away is none of it: what comes is taken in all the same, and waits.
    """
    if found is None:
        return "the ledger cannot be read"
    state = found["daemon"]["state"]
    if state != "running":
        return "no daemon has ever run" if state == "never" else f"the daemon is {state}"
    return "the ledger cannot be written" if found["ledger"]["blocked"] else ""
