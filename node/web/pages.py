"""How a page is made: a template, a language, and the headers under which it may run.

Law of the file: everything that is put into a page is escaped by Jinja2, no script and no style
stands in a page itself, and nothing is fetched from anywhere but this node.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Meta

from node.api.request import Call
from node.web.words import LANGUAGES, said
from salus.forms import Request

HTML = "text/html"
# One origin, no inline anything, no frame around it: what a page of ours does is in its files.
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

Language = Annotated[str, Meta(pattern=r"^(en|zh)$(?!\n)")]

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class PageArguments(Request, frozen=True, kw_only=True):
    lang: Language | None = None  # else what the browser asks for


def page(call: Call, template: str, lang: str | None, **context: Any) -> web.Response:
    """The page in the reader's language."""
    chosen = language(call.request, lang)

    def t(key: str, **values: object) -> str:
        return said(key, chosen, **values)

    text = _templates.get_template(template).render(
        t=t,
        lang=chosen,
        other=next(one for one in LANGUAGES if one != chosen),
        path=call.route,
        organisation=call.view.status().member or "",
        **context,
    )
    headers = {"X-Height": str(call.view.height()), "Content-Language": chosen, **SECURITY}
    return web.Response(text=text, content_type=HTML, charset="utf-8", headers=headers)


def language(request: web.Request, given: str | None) -> str:
    """Asked for, or the first of the browser's that we have."""
    if given is not None:
        return given
    for wanted in request.headers.get("Accept-Language", "").split(","):
        tag = wanted.split(";")[0].strip().lower().split("-")[0]
        if tag in LANGUAGES:
            return tag
    return LANGUAGES[0]


def for_script(**values: object) -> str:
    """What a script of the page is told, for a data attribute; Jinja2 escapes it."""
    return json.dumps(values, ensure_ascii=False)
