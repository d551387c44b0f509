"""One node as its operator has it: token, HTTPS, SIGHUP; nothing of it is set for a test only."""

import datetime
import ipaddress
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli import keepers, processes, testnet
from cli.home import NodeHome
from salus.codes import Exit
from salus.parameters import Parameters
from tests.e2e.shell import document, error, lines, salus, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DATA = Path(__file__).parent.parent.parent / "cli" / "data"


def certificate(home: Path) -> None:
    """For 127.0.0.1, signed by itself, as an operator without an authority makes one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "salus")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (home / "api.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (home / "api.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class One:
    """A consortium of one, its node started by `salus start` in a process of its own."""

    def __init__(self, root: Path) -> None:
        (node,) = testnet.create(root, 1, "salus-one", Parameters()).nodes
        # From here on it is a home like any other.
        self.home, self.log = NodeHome(Path(node.home)), root / "node.log"

    def set(self, **settings: str) -> None:
        pairs = [
            word for name, value in settings.items() for word in (name.replace("__", "."), value)
        ]
        document("config", "set", *pairs, "--home", self.home.path)

    def start(self) -> None:
        processes.start_keeper(self.home.path, self.log.with_suffix(".keeper.log"))
        processes.start(self.home.path, self.log)
        until(
            "node and keeper answer",
            lambda: (
                salus("status", "--home", self.home.path).returncode == 0
                and keepers.known(self.home).answers is True
            ),
        )

    def signal(self, number: signal.Signals) -> None:
        processes.send(self.home.path, number)

    def stop(self) -> None:
        processes.stop([self.home.path])

    def events(self) -> list[str]:
        return [line["event"] for line in lines(self.log)]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[One]:
    made = One(tmp_path / "net")
    try:
        yield made
    finally:
        made.stop()
    if made.log.exists():
        assert "Traceback" not in made.log.read_text()


# --- token and HTTPS


def test_the_token_of_the_home_opens_the_api_and_nothing_else_does(
    one: One, tmp_path: Path
) -> None:
    one.set(api__auth="token")
    one.start()
    home, url = one.home.path, one.home.api_url()
    token = (home / "api.token").read_text().strip()
    added = document("record", "add", DATA / "visit-1.json", "--home", home)
    assert document("record", "list", "--home", home)["items"][0]["record_id"] == added["record_id"]

    # A stranger on the same machine: the same URL, no home.
    stranger = ("--node", url, "--home", tmp_path / "nowhere")
    refused = error(Exit.NOT_AUTHORISED, "record", "list", *stranger)
    assert refused["code"] == "UNAUTHENTICATED"
    assert error(Exit.NOT_AUTHORISED, "record", "get", added["record_id"], "-o",
                 tmp_path / "stolen", *stranger)  # fmt: skip
    assert not (tmp_path / "stolen").exists()
    # What everybody may know, everybody may ask.
    header = document("api", "GET", "blocks/latest/header", *stranger)
    assert header["height"] >= added["height"]

    # Another token in the home is another home's.
    (home / "api.token").write_text("x" * 43 + "\n")
    assert error(Exit.NOT_AUTHORISED, "record", "list", "--home", home)["code"] == refused["code"]
    (home / "api.token").write_text(token + "\n")
    assert document("record", "list", "--home", home)["items"]
    assert token not in one.log.read_text()


def test_https_with_the_certificate_of_the_home_is_trusted_by_whoever_has_the_home(
    one: One, tmp_path: Path
) -> None:
    certificate(one.home.path)
    one.set(api__auth="token", api__tls_cert="api.crt", api__tls_key="api.key")
    assert one.home.api_url().startswith("https://127.0.0.1:")
    one.start()
    home, url = one.home.path, one.home.api_url()
    assert document("status", "--home", home)["ready"]
    added = document("record", "add", DATA / "visit-1.json", "--home", home)
    fetched = tmp_path / "back.json"
    document("record", "get", added["record_id"], "-o", fetched, "--home", home)
    assert fetched.read_bytes() == (DATA / "visit-1.json").read_bytes()
    assert document("doctor", "--home", home)["ok"]

    # Nobody vouches for this certificate but the home.
    untrusted = error(Exit.UNREACHABLE, "status", "--node", url, "--home", tmp_path / "nowhere")
    assert "certificate" in untrusted["message"].lower()
    # And the port speaks no plain HTTP.
    plain = url.replace("https:", "http:")
    assert error(Exit.UNREACHABLE, "status", "--node", plain, "--home", tmp_path / "nowhere")


def test_the_feed_of_events_takes_token_and_https_too(one: One) -> None:
    certificate(one.home.path)
    one.set(api__auth="token", api__tls_cert="api.crt", api__tls_key="api.key")
    one.start()
    home = one.home.path
    added = document("record", "add", DATA / "visit-1.json", "--home", home)
    done = salus("events", "--no-follow", "--after", "0", "--kind", "records.*", "--json",
                 "--home", home)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (event,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (event["kind"], event["tx_id"]) == ("records.anchored", added["tx_id"])


# --- SIGHUP


def test_sighup_reads_the_log_level_anew_and_nothing_else(one: One) -> None:
    one.set(log__level="error")
    one.start()
    assert "started" not in one.events(), "it is an info"
    api = one.home.api_url()
    one.set(log__level="info", api__listen="127.0.0.1:1")  # the second is for the next start
    one.signal(signal.SIGHUP)
    assert document("status", "--node", api, "--home", one.home.path)["ready"]
    one.stop()
    assert "stopped" in one.events()


def test_sighup_with_a_broken_file_changes_nothing_and_says_so(one: One) -> None:
    """A slip of the editor must not cost a validator its vote."""
    one.start()
    whole = one.home.config.read_text()
    one.home.config.write_text(whole + "\n[log\nlevel = \n")
    one.signal(signal.SIGHUP)
    until("the log says it", lambda: "reload_failed" in one.events())
    one.home.config.write_text(whole.replace("\n[log]", "\n[lag]") + "\n[log]\nlevel = 5\n")
    one.signal(signal.SIGHUP)
    until("the log says it again", lambda: one.events().count("reload_failed") == 2)
    one.home.config.write_text(whole)
    assert document("status", "--home", one.home.path)["ready"]
    document("record", "add", DATA / "visit-1.json", "--home", one.home.path)
    one.stop()
    assert "stopped" in one.events()
