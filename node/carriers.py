"""How a notice reaches a patient: by mail, by a call to a web address, or on a list to be printed.

Law of the file: what was carried is known only when the other side said so; everything else is
`CarrierFailed`, and tried again. No address and no text stands in a log or in an error.
"""

import asyncio
import json
import os
import smtplib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp

from node.contacts import Contact
from node.notices import Notice, subject, text

SEND_TIMEOUT_S = 20.0  # a mail server that greets slowly, RFC 5321 §4.5.3.2, would have 300
PRINT_LIST_BYTES_MAX = 16 * 2**20  # 40,000 letters: somebody has to take the list away


class CarrierFailed(Exception):
    """Not carried, as far as is known; `args` names the step and no more."""


class Carrier(Protocol):
    def accepts(self, address: str) -> bool:
        """Could a message go there at all?"""

    def destination(self, address: str) -> str:
        """Who takes it: messages to one destination wait for each other, those to others do not."""

    async def send(self, contact: Contact, notice: Notice) -> None:
        """Returns when the other side has taken it. Raises `CarrierFailed`."""


@dataclass(frozen=True)
class Mail:
    """SMTP. `security`: `tls`, `starttls` or `none` (a relay on the same machine)."""

    host: str
    port: int
    security: str
    sender: str
    user: str = ""
    password: str = ""

    def accepts(self, address: str) -> bool:
        name, at, host = address.rpartition("@")
        # Nothing that ends a line for anybody, and no encoded word, which is read as other letters.
        plain = address.isprintable() and "=?" not in address
        return bool(at and name and host) and plain and not set(address) & set(' <>(),;:\\"[]')

    def destination(self, address: str) -> str:
        return self.host  # whoever it is for: the relay takes all

    async def send(self, contact: Contact, notice: Notice) -> None:
        message = EmailMessage()
        message["From"], message["To"] = self.sender, contact.address
        message["Subject"] = subject(contact.language)
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2] or "localhost")
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(text(notice, contact.language))
        await asyncio.to_thread(self._deliver, message)

    def _deliver(self, message: EmailMessage) -> None:
        try:
            with self._connection() as server:
                if self.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    server.login(self.user, self.password)
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise CarrierFailed(f"mail: {type(error).__name__}") from None

    def _connection(self) -> smtplib.SMTP:
        if self.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=SEND_TIMEOUT_S, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=SEND_TIMEOUT_S)


@dataclass(frozen=True)
class WebHook:
    """A POST of JSON. Only to hosts that the operator lists: else a patient could have the node call
    whatever stands in the hospital's own network."""

    hosts: frozenset[str]

    def accepts(self, address: str) -> bool:
        try:
            url = urlsplit(address)
            host, _ = url.hostname, url.port
        except ValueError:
            return False
        if host is None or url.username is not None or host.lower() not in self.hosts:
            return False
        return url.scheme == "https" or (url.scheme == "http" and host in ("127.0.0.1", "::1"))

    def destination(self, address: str) -> str:
        return urlsplit(address).netloc.lower() if self.accepts(address) else ""

    async def send(self, contact: Contact, notice: Notice) -> None:
        if not self.accepts(contact.address):  # the list may have become shorter
            raise CarrierFailed("webhook: not listed")
        form = {
            "kind": notice.kind.value,
            "organisation": notice.org,
            "count": notice.count,
            "text": text(notice, contact.language),
        }
        timeout = aiohttp.ClientTimeout(total=SEND_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(contact.address, json=form, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise CarrierFailed(f"webhook: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise CarrierFailed(f"webhook: status {status}")


@dataclass(frozen=True)
class PrintList:
    """A file of JSON lines that somebody prints, posts and takes away: for who has neither mail nor
    telephone."""

    path: Path

    def accepts(self, address: str) -> bool:
        return all(letter.isprintable() or letter == "\n" for letter in address)

    def destination(self, address: str) -> str:
        return str(self.path)

    async def send(self, contact: Contact, notice: Notice) -> None:
        line = {"to": contact.address, "text": text(notice, contact.language)}
        await asyncio.to_thread(
            self._append, (json.dumps(line, ensure_ascii=False) + "\n").encode()
        )

    def _append(self, line: bytes) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o600)
            try:
                if os.fstat(descriptor).st_size + len(line) > PRINT_LIST_BYTES_MAX:
                    raise CarrierFailed("print list: full")
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CarrierFailed(f"print list: {type(error).__name__}") from None
