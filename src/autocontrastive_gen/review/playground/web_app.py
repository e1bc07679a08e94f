"""The playground as a web application, for the machine that it runs on and for no other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from autocontrastive_gen.foundation.errors import InputError
from autocontrastive_gen.generation.trial import MOST_CHARACTERS, MOST_SETTINGS, MOST_TOKENS, Trial
from autocontrastive_gen.inspection.layer_choices import layer_choices
from autocontrastive_gen.review.playground.live_trial import LiveTrials
from autocontrastive_gen.review.playground.subject import Subject

HOSTS = ("127.0.0.1", "localhost")
MOST_BYTES = 8 * MOST_CHARACTERS
FILES = {"play.css": "text/css"} | dict.fromkeys(("play.js", "column.js", "fields.js", "layers.js"), "text/javascript")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def playground(subject: Subject, trial: Trial | None = None) -> Starlette:
    """The application (ASGI) that serves the playground.

    It answers requests to 127.0.0.1 and localhost only, which keeps out pages whose name is made to point there (DNS
    rebinding), and runs a model for its own page only.

    Args:
        trial: what the page starts with.

    Returns:
        The application, with its trials as ``state.trials``.
    """
    trials = LiveTrials(subject)
    app = Starlette(
        routes=[
            Route("/", _document("text/html", _page(subject, trial))),
            *(Route(f"/{name}", _document(kind, _read(name))) for name, kind in FILES.items()),
            *_answers(trials),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False)],
        exception_handlers={InputError: _refused, HTTPException: _refused},
    )
    app.state.trials = trials
    return app


def _answers(trials: LiveTrials) -> list[Route]:
    """What the page's script asks for: the texts of a trial as they grow, and what the layers want at a token."""

    async def texts(request: Request) -> Response:
        trial = Trial.read(await _content(request))
        prompt = await run_in_threadpool(trials.admit, trial)
        return StreamingResponse(_lines(trials, trial, prompt), media_type="application/x-ndjson", headers=HEADERS)

    async def layers(request: Request) -> Response:
        content = await _content(request)
        trial, tokens = Trial.read(content.get("trial")), _tokens(content.get("tokens"), trials)
        return JSONResponse(await run_in_threadpool(_layers, trials, trial, tokens), headers=HEADERS)

    return [Route("/texts", texts, methods=["POST"]), Route("/layers", layers, methods=["POST"])]


async def _lines(trials: LiveTrials, trial: Trial, prompt: list[int]) -> AsyncIterator[str]:
    async with aclosing(trials.events(trial, prompt)) as events:  # a reader who leaves stops the texts
        async for event in events:
            yield json.dumps(event) + "\n"


def _layers(trials: LiveTrials, trial: Trial, tokens: list[int]) -> list[dict[str, Any]]:
    model, tokenizer = trials.subject.model, trials.subject.tokenizer
    before = [*trial.encoded(model, tokenizer), *tokens[:-1]]
    with trials.turns.turn():
        return layer_choices(trial.settings[0].of(model), tokenizer, before, tokens[-1])


def _tokens(given: Any, trials: LiveTrials) -> list[int]:
    """The tokens of a continuation up to the one that is asked about."""
    size = trials.subject.model.config.get_text_config().vocab_size
    fits = isinstance(given, list) and 1 <= len(given) <= MOST_TOKENS
    if not fits or not all(type(token) is int and 0 <= token < size for token in given):
        raise InputError(f"tokens: give 1 to {MOST_TOKENS} whole numbers from 0 to {size - 1}")
    return given


async def _content(request: Request) -> dict[str, Any]:
    """The JSON of a request that the page itself has sent."""
    origin = request.headers.get("origin")  # browsers send it with every POST
    if origin is not None and origin != f"http://{request.headers['host']}":
        raise HTTPException(403, f"requests from pages of {origin} are refused")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"a request may have {MOST_BYTES} bytes; shorten the prompt")
    try:
        content = json.loads(body)
    except ValueError as error:
        raise InputError(f"the request is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"the request: give a mapping, got {content!r}")
    return content


async def _refused(request: Request, error: Exception) -> Response:
    status, message = (error.status_code, error.detail) if isinstance(error, HTTPException) else (400, str(error))
    return JSONResponse({"message": message}, status, headers=HEADERS)


def _document(media_type: str, content: str):
    async def send(request: Request) -> Response:
        return Response(content, media_type=media_type, headers=HEADERS)

    return send


def _page(subject: Subject, trial: Trial | None) -> str:
    limits = {"tokens": MOST_TOKENS, "characters": MOST_CHARACTERS, "settings": MOST_SETTINGS}
    about = {**subject.described(), "limits": limits, "trial": trial and trial.content}
    environment = Environment(autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # the order of the run
    return environment.from_string(_read("play.html.j2")).render(about=about)


def _read(name: str) -> str:
    return (files(__package__) / "page" / name).read_text(encoding="utf-8")
