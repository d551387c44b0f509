"""Pages for everybody: who takes part, how it works in plain words, and what is counted."""

from aiohttp import web

from node.api.public import COUNTED, organisations, overseen
from node.api.request import Call
from node.api.route import Access, Route
from node.web.pages import HTML, PageArguments, language, page


async def directory(call: Call, args: PageArguments) -> web.StreamResponse:
    found = organisations(call)
    return page(call, "directory.html", args.lang, found=found, height=found.height)


async def cases(call: Call, args: PageArguments) -> web.StreamResponse:
    name = f"cases.{language(call.request, args.lang)}.html"
    return page(call, name, args.lang, height=call.view.height())


async def oversight(call: Call, args: PageArguments) -> web.StreamResponse:
    found = await overseen(call)
    return page(
        call, "oversight.html", args.lang, found=found, height=found.height, counted=COUNTED
    )


def _page(path: str, handler: object, doc: str) -> Route:
    return Route(
        method="GET",
        path=path,
        access=Access.OPEN,
        handler=handler,  # type: ignore[arg-type]
        doc=doc,
        arguments=PageArguments,
        answers={200: HTML},
    )


ROUTES = (
    _page("/directory", directory, "The organisations of the consortium, as a page."),
    _page("/cases", cases, "How it works, case by case, in plain words."),
    _page("/oversight", oversight, "What is counted per organisation, as a page."),
)
