"""What a custodian released, as its reader opens it: the one version, its stream, the document.

Law of the file: nothing is believed that the request, the certified ticket and the version's
commitment do not show together.
"""

from dataclasses import dataclass
from hashlib import sha256

from salus import files, release
from salus.asking import Wish, same_wish
from salus.disclosure import Reader, opening_of
from salus.document import Opening
from salus.errors import VerificationError
from salus.keys import verify
from salus.read_state import ReadState, Unfinished
from salus.reading import Part, arrived, derived_payload
from salus.sealed_stream import SealedStream
from salus.shown_document import Assembler


@dataclass(frozen=True, slots=True)
class Assembled:
    media_type: str | None
    digest: bytes  # of what arrived
    opening: Opening | None


def assemble(state: ReadState, unfinished: Unfinished, *, keep: bool = False) -> Assembled:
    """In a thread: the shown bytes become the document, and both are checked on the way. `keep`: the
    parts too, in memory, for a proof file."""
    part, release_terms = part_of(state), release.read(part_of(state).envelope).terms
    commitment = _proved_by(state, part)
    reader, hashed = Reader(commitment, release_terms.disclosure), sha256()
    with files.NewFile(unfinished.output) as file:
        assembler = Assembler(file.write)
        kept: dict[int, bytearray] = {}
        for data in unfinished.pieces():
            hashed.update(data)
            for piece in reader.feed(data):
                assembler.take(piece)
                if keep:
                    kept.setdefault(piece.index, bytearray()).extend(piece.content)
        disclosure = reader.finish()
        if disclosure.withheld != part.withheld:
            raise VerificationError("other parts are withheld than the custodian says")
        assembler.finish()
        if assembler.media_type is not None:
            file.publish()
    opening = None
    if keep:
        places = (shown.index for shown in disclosure.shown)
        opening = opening_of(disclosure, {at: bytes(kept.get(at, b"")) for at in places})
    return Assembled(assembler.media_type, arrived((hashed.digest(),)), opening)


def _proved_by(state: ReadState, part: Part) -> bytes:
    """The commitment that the shown bytes must lead to. Raises `VerificationError`."""
    derived, request = part.derived, state.ask.request
    if derived is None:
        return part.commitment
    payload = derived_payload(
        request.chain_id,
        request.custodian,
        request.request_id,
        part.commitment,
        derived.commitment,
    )
    if not verify(state.custodian_key, payload, derived.signature):
        raise VerificationError("the derived document is not signed by the custodian")
    return derived.commitment


def part_of(state: ReadState) -> Part:
    """The one version that was asked for. Raises `VerificationError`."""
    (asked,) = state.ask.versions
    if [part.commitment for part in state.decided.parts] != [asked.commitment]:
        raise VerificationError("the custodian answers with another version than was asked for")
    return state.decided.parts[0]


def stream_of(state: ReadState) -> SealedStream:
    """To open the chunks with. Raises `VerificationError`."""
    part, request = part_of(state), state.ask.request
    return release.open_release(
        release.read(part.envelope),
        state.secret,
        chain_id=request.chain_id,
        custodian=request.custodian,
        request_id=request.request_id,
        commitment=part.commitment,
    )


def goes_on(state: ReadState, wish: Wish, record_id: bytes, version: int | None) -> bool:
    (asked,) = state.ask.versions
    return same_wish(state.ask, wish, record_id) and version in (None, asked.version)


def same_release(before: ReadState, now: ReadState) -> bool:
    """Do both show the very same bytes? The digest fixes them, with the commitment."""
    one, other = (release.read(part_of(state).envelope).terms for state in (before, now))
    same = (one.commitment, one.disclosure, one.size) == (
        other.commitment,
        other.disclosure,
        other.size,
    )
    return same and part_of(before).derived == part_of(now).derived
