"""A document out of the parts that are shown of it: the very file, or the file without some entries.

Of a Bundle whose entries are withheld in part the rest is a Bundle again: an entry goes with the gap
behind it, and the last gap stays. Lines likewise. Law of the file: contents flow through; only the
structure is held.
"""

from collections.abc import Callable

from salus.codec import decode
from salus.disclosure import Piece
from salus.document import Structure
from salus.errors import VerificationError


class Assembler:
    """Takes the pieces of `salus.disclosure.Reader` in their order; `write` gets the document."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._head = bytearray()  # part 0, as it comes
        self._structure: Structure | None = None
        self._last = 0  # the part that was written last; 0: only what stands before all of them

    @property
    def media_type(self) -> str | None:
        """None if the structure itself is withheld: then there is no document."""
        return None if self._structure is None else self._structure.media_type

    def take(self, piece: Piece) -> None:
        """Raises `VerificationError`, `BadMessage`."""
        if piece.index == 0:
            self._head += piece.content
            return
        structure = self._begun()
        if structure.gaps and piece.index >= len(structure.gaps):
            raise VerificationError("the structure does not fit the parts")
        if piece.index != self._last:
            if structure.gaps and self._last:
                self._write(structure.gaps[self._last])
            self._last = piece.index
        self._write(piece.content)

    def finish(self) -> None:
        """After the last piece."""
        if self._structure is None and not self._head:
            return  # all is withheld, the structure too
        structure = self._begun()
        if structure.gaps:
            self._write(structure.gaps[-1])

    def _begun(self) -> Structure:
        if self._structure is None:
            if not self._head:
                raise VerificationError("parts are shown without the structure of the document")
            self._structure = decode(bytes(self._head), Structure)
            if self._structure.gaps:
                self._write(self._structure.gaps[0])
        return self._structure
