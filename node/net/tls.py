"""TLS 1.3 from the node key: a self-signed Ed25519 certificate, pinned by its key alone.

Genesis holds keys, not certificates, so nothing here expires and no authority is asked: dates,
names and issuer are ignored. TLS proves that the other end holds the private key of its
certificate; `peer_key` reads that key, and the caller compares it with the member's.
"""

import datetime
import os
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
)

from salus.keys import SigningKey, address

# Peers ignore the dates; these are the ends of what X.509 can say (RFC 5280, 4.1.2.5).
_NOT_BEFORE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)


def certificate_pem(identity: SigningKey) -> bytes:
    """The certificate of a node key; the same key always gives the same bytes."""
    key = Ed25519PrivateKey.from_private_bytes(identity.seed)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, address(identity.public_key))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .sign(key, None)
    )
    return certificate.public_bytes(Encoding.PEM)


def server_context(identity: SigningKey) -> ssl.SSLContext:
    """The listener's side. Diallers prove themselves in the first frame, not by a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # No resumption: each connection proves the key anew.
    _load(context, identity)
    return context


def client_context() -> ssl.SSLContext:
    """The dialler's side. Whoever uses it must compare `peer_key` before saying anything."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_key(connection: ssl.SSLObject | None) -> bytes | None:
    """The Ed25519 key that the other end proved to hold; None if it is of another kind."""
    certificate = connection.getpeercert(binary_form=True) if connection is not None else None
    if certificate is None:
        return None
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception:  # noqa: BLE001 - the parser's errors are many; all say: not our kind.
        return None
    if not isinstance(key, Ed25519PublicKey):
        return None
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _load(context: ssl.SSLContext, identity: SigningKey) -> None:
    """`ssl` reads keys from files only: a file of ours alone (0600), under a password that never
    leaves this function, gone before it returns. What a disk might keep of it is useless."""
    password = os.urandom(32).hex()
    key = Ed25519PrivateKey.from_private_bytes(identity.seed)
    pem = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
    )
    handle, name = tempfile.mkstemp(prefix="salus-tls-")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem + certificate_pem(identity))
        context.load_cert_chain(name, password=password)
    finally:
        Path(name).unlink()
