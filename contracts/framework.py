"""A contract is one file, and everything else follows from its declaration.

    records = Contract("records", version=1, doc="…", refusals={"DUPLICATE_ROOT": "…"})
    ANCHORED = records.event("anchored", "…", root="…", leaves="…")

    @records.method(senders=(Capacity.OPERATOR,), roles=(Role.HOSPITAL,))
    def anchor(ctx: Context, state: State, args: AnchorArgs) -> list[Event]: ...

From this come strict decoding, dispatch by the epoch's versions, the JSON form, schemas, who may
send, the reference pages and the list of methods for API, CLI and SDK. A declaration that would
publish what must not be published does not import (contracts/fields.py).
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar, get_args, get_type_hints

import msgspec

from contracts import fields
from contracts.context import Act, Capacity, Context, Identity, Rights, Turn, View
from contracts.errors import (
    FRAMEWORK_CODES,
    BadDeclaration,
    plain,
)
from contracts.fields import Field
from contracts.state import ReadState, State
from salus import wire_json
from salus.block import Event, Fact
from salus.codec import UINT_MAX, Wire, decode, encode
from salus.genesis import Genesis, Role
from salus.transaction import Operation

A = TypeVar("A", bound=Wire)
P = ParamSpec("P")
R = TypeVar("R")

Run = Callable[[Context, State, Any], list[Event]]
TakeTurn = Callable[[Turn, State], None]
Answer = Callable[[ReadState, Any], Wire | None]

_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{1,47}")
FACT_WORD_MAX = 48  # characters
_FACT_WORD = re.compile(rf"[A-Za-z][A-Za-z0-9_-]{{0,{FACT_WORD_MAX - 1}}}")
_FACTS_MAX, _FACT_NAME_MAX = 16, 32  # salus.block.Facts

ANYONE: tuple[Capacity, ...] = ()  # the method itself decides by the sender's key


class EventKind(NamedTuple):
    """A declared event; calling it makes one. Facts that are None are left out."""

    name: str  # contract.what
    doc: str
    fields: Mapping[str, str]  # name → what it is

    def __call__(self, **data: Fact | bytes | None) -> Event:
        return Event(self.name, plain(data))


class Method(msgspec.Struct, frozen=True, eq=False):
    """One kind of operation: who may send it, its fields, and the pure function it runs."""

    contract: str
    version: int
    name: str
    doc: str
    args: type[Wire]
    fields: tuple[Field, ...]
    senders: tuple[Capacity, ...]
    roles: frozenset[Role]  # of the sender's organisation, one of them; empty: any
    run: Run

    def allows(self, identity: Identity | None) -> bool:
        """May a sender of this identity call it at all? The method may narrow it further."""
        if not self.senders:
            return True
        if identity is None or identity.capacity not in self.senders:
            return False
        return not self.roles or not self.roles.isdisjoint(identity.roles)

    def decode(self, raw: bytes) -> Wire:
        """Raises `BadMessage` unless `raw` is the canonical form of the arguments."""
        return decode(raw, self.args)

    def from_json(self, document: Any) -> Wire:
        """Raises `BadMessage` (BAD_ARGUMENTS) with the path of the fault, never its content."""
        return wire_json.from_json(self.args, document)

    def operation(self, args: Wire) -> Operation:
        """Ready to be signed into a transaction."""
        assert type(args) is self.args
        return Operation(self.contract, self.name, self.version, encode(args))

    def schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments."""
        return _schema(self.args, self.fields, self.doc)


class Query(msgspec.Struct, frozen=True):
    """A question about a contract's state; part of no consensus."""

    contract: str
    version: int
    name: str
    doc: str
    args: type[Wire]
    result: type[Wire]
    nullable: bool  # the answer may be null: there is none
    answer: Answer


class Contract:
    """The declaration of one version of one application."""

    def __init__(
        self,
        name: str,
        *,
        version: int,
        doc: str,
        refusals: Mapping[str, str],
        reads: tuple[str, ...] = (),
        acts: tuple[str, ...] = (),
    ) -> None:
        """`reads`: contracts whose views it asks; `acts`: contracts that it has acts done by."""
        _word(name, "a contract's name")
        for code in refusals:
            if not _CODE.fullmatch(code) or code in FRAMEWORK_CODES:
                raise BadDeclaration(f"{name}: a refusal is a new word in capitals, not {code!r}")
        self.name, self.version, self.doc = name, version, doc
        self.refusals, self.rights = dict(refusals), Rights(name, reads, acts)
        self.methods: dict[str, Method] = {}
        self.queries: dict[str, Query] = {}
        self.events: dict[str, EventKind] = {}
        self.founding: Callable[[Genesis, State], None] | None = None
        self.turn: TakeTurn | None = None
        self.turn_due: Callable[[ReadState], int] | None = None

    def method(
        self, *, senders: tuple[Capacity, ...], roles: tuple[Role, ...] = ()
    ) -> Callable[
        [Callable[[Context, State, A], list[Event]]], Callable[[Context, State, A], list[Event]]
    ]:
        """Declare a method: its name is the function's, its doc the docstring, its fields the
        struct of the third parameter."""

        def declare(
            run: Callable[[Context, State, A], list[Event]],
        ) -> Callable[[Context, State, A], list[Event]]:
            name = _word(run.__name__, "a method's name")
            args = _parameter(run, 2)
            if name in self.methods:
                raise BadDeclaration(f"{self.name}.{name} is declared twice")
            self.methods[name] = Method(
                self.name,
                self.version,
                name,
                _doc(run),
                args,
                fields.declare(args),
                senders,
                frozenset(roles),
                run,
            )
            return run

        return declare

    def query(self, answer: Callable[[ReadState, A], R]) -> Callable[[ReadState, A], R]:
        """Declare a query: a pure function (state, args) → struct or None."""
        name = _word(answer.__name__, "a query's name")
        result = get_type_hints(answer)["return"]
        (kind, *_), nullable = get_args(result) or (result,), type(None) in get_args(result)
        self.queries[name] = Query(
            self.name,
            self.version,
            name,
            _doc(answer),
            _parameter(answer, 1),
            kind,
            nullable,
            answer,  # type: ignore[arg-type]
        )
        return answer

    def view(self, function: Callable[Concatenate[ReadState, P], R]) -> View[P, R]:
        """Declare what other contracts may ask (`ctx.ask`)."""
        return View(self.name, function)

    def act(
        self, *, callers: tuple[str, ...]
    ) -> Callable[[Callable[Concatenate[State, P], R]], Act[P, R]]:
        """Declare a change of this contract's state that others may ask for (`ctx.act`). It runs
        within their operation, under its caps, and is undone with it."""
        return lambda function: Act(self.name, callers, function)

    def takes_turn(self, due: Callable[[ReadState], int]) -> Callable[["TakeTurn"], "TakeTurn"]:
        """Declare what the contract does at the end of a block: of the last one of an epoch, and
        of each from the height on that `due` reads from its state (UINT_MAX: of no other)."""

        def declare(turn: TakeTurn) -> TakeTurn:
            self.turn, self.turn_due = turn, due
            return turn

        return declare

    def event(self, what: str, doc: str, /, **facts: str) -> EventKind:
        if not _few_and_short(facts):
            raise BadDeclaration(f"{self.name}.{what}: at most {_FACTS_MAX} facts with short names")
        kind = EventKind(f"{self.name}.{_word(what, 'an event')}", doc, facts)
        self.events[kind.name] = kind
        return kind

    def genesis(
        self, function: Callable[[Genesis, State], None]
    ) -> Callable[[Genesis, State], None]:
        """Declare what the contract writes into the genesis state."""
        self.founding = function
        return function

    def admits(self, event: Event) -> bool:
        """Is it an event that this contract declared, with facts that may be published?"""
        kind = self.events.get(event.kind)
        # How many there are and what they are called was looked at when it was declared.
        return (
            kind is not None
            and event.data.keys() <= kind.fields.keys()
            and _are_public(event.data.values())
        )


def publishable(facts: Mapping[str, object]) -> bool:
    """Receipts and events carry flags, integers, single words and 32-byte hashes in hex."""
    return _few_and_short(facts) and _are_public(facts.values())


def _few_and_short(facts: Collection[str]) -> bool:
    return len(facts) <= _FACTS_MAX and max(map(len, facts), default=0) <= _FACT_NAME_MAX


def _are_public(facts: Iterable[object]) -> bool:
    # A plain loop: this runs for every fact of every event of every operation.
    for fact in facts:
        if isinstance(fact, str):
            if len(fact) == 64:
                # Of a hash; there and back takes half of what a pattern does, and skips no space.
                try:
                    if bytes.fromhex(fact).hex() != fact:
                        return False
                except ValueError:
                    return False
            elif len(fact) > FACT_WORD_MAX or not _is_word(fact):  # longer ones would stay cached
                return False
        elif type(fact) is int:
            if not 0 <= fact <= UINT_MAX:
                return False
        elif type(fact) is not bool:
            return False
    return True


@lru_cache(maxsize=4_096)
def _is_word(text: str) -> bool:
    """Cached: names of members and the like come again and again."""
    return _FACT_WORD.fullmatch(text) is not None


def _schema(args: type[Wire], declared: tuple[Field, ...], doc: str) -> dict[str, Any]:
    document = fields.schema(msgspec.inspect.type_info(args))
    document["description"] = doc
    for field in declared:
        document["properties"][field.name]["description"] = f"{field.publication}: {field.doc}"
    return document


def _word(name: str, what: str) -> str:
    if not _WORD.fullmatch(name):
        raise BadDeclaration(f"{what} is a lower-case word, not {name!r}")
    return name


def _doc(function: Callable[..., object]) -> str:
    text = " ".join((function.__doc__ or "").split())
    if not text:
        raise BadDeclaration(f"{function.__name__}: say in a docstring what it does")
    return text


def _parameter(function: Callable[..., object], position: int) -> type[Wire]:
    hints = get_type_hints(function)
    hints.pop("return", None)
    if len(hints) != position + 1:
        raise BadDeclaration(f"{function.__name__}: annotate its {position + 1} parameters")
    args: type[Wire] = list(hints.values())[position]
    return args
