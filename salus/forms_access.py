"""JSON forms of reads: which chunk is fetched, what the reader confirms, which receipts are missing.

Law of the file: a request's id stands on the chain beside the handle, so it travels in bodies alone
(rule P-5): paths are written down on their way.
"""

from typing import Annotated

from msgspec import Meta

from salus.forms import Form, Hex32, Request
from salus.reading import CHUNKS_MAX
from salus.validators import MemberId

RequestId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
Chunk = Annotated[int, Meta(ge=0, le=CHUNKS_MAX)]


class OwnChunkRequest(Request, frozen=True, kw_only=True):
    """A sealed chunk of a version under a patient's own ticket, at the session's custodian."""

    request_id: RequestId
    commitment: Hex32  # of the version
    chunk: Chunk


class ChunkRequest(OwnChunkRequest, frozen=True, kw_only=True):
    """The same under anybody's ticket."""

    custodian: MemberId


class OwnReceiptRequest(Request, frozen=True, kw_only=True):
    """What arrived of a patient's own read: the reader's word, after it was verified."""

    request_id: RequestId
    digest: Hex32  # `salus.reading.arrived`


class ReceiptRequest(OwnReceiptRequest, frozen=True, kw_only=True):
    """The same of anybody's."""

    custodian: MemberId


class MissingReceipt(Form, frozen=True):
    """A permitted read of this organisation whose receipt the chain does not show."""

    request_id: str
    custodian: str
    asked: str  # RFC 3339
    state: str  # awaited: the reader said nothing yet; unsent: on its way


class MissingReceipts(Form, frozen=True, omit_defaults=False):
    items: tuple[MissingReceipt, ...]
    height: int


class SitesAnswer(Form, frozen=True, omit_defaults=False):
    sites: tuple[str, ...]  # SYSTEM|VALUE


class PermitsRequest(Request, frozen=True):
    """Of whom: the handle that the patient has at this organisation. In a body, never in a URL."""

    handle: Hex32


class KnownPermitForm(Form, frozen=True, omit_defaults=False):
    """Whom this organisation may ask for a patient, by the sealed field of a permit."""

    custodian: str
    handle: str  # the patient's handle there
    consent_id: str
    purpose: str
    classes: tuple[str, ...]
    until: str  # the last day


class KnownPermits(Form, frozen=True, omit_defaults=False):
    items: tuple[KnownPermitForm, ...]  # newest first
    height: int  # everything up to it has been read
