"""Whom a home's token is for: the addresses that the home itself names, and no other host."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from cli.home import Home
from tests.cli.conftest import Salus

TOKEN = "t" * 43
HOME = """
[api]
listen = "{listen}"
hosts = ["salus.hosp-a.example"]
"""
TLS = 'tls_cert = "cert.pem"\n'


def home(folder: Path, listen: str, more: str = "") -> Home:
    (folder / "node.toml").write_text(HOME.format(listen=listen) + more)
    (folder / "api.token").write_text(TOKEN + "\n")
    return Home(folder)


@pytest.mark.parametrize(
    ("listen", "more", "node"),
    [
        ("127.0.0.1:7480", "", None),
        ("127.0.0.1:7480", "", "http://127.0.0.1:7480/"),
        ("127.0.0.1:7480", "", "HTTP://localhost:7480"),
        ("0.0.0.0:7480", "", "http://127.0.0.1:7480"),
        ("[::]:7480", "", "http://[::1]:7480"),
        ("10.0.0.5:7480", TLS, "https://10.0.0.5:7480"),
        ("10.0.0.5:7480", TLS, "https://salus.hosp-a.example:7480"),
    ],
)
def test_an_address_of_the_home_gets_its_token(
    tmp_path: Path, listen: str, more: str, node: str | None
) -> None:
    assert home(tmp_path, listen, more).target(node).token() == TOKEN


@pytest.mark.parametrize(
    ("listen", "more", "node"),
    [
        ("127.0.0.1:7480", "", "https://hosp-b.example:7480"),
        ("127.0.0.1:7480", "", "http://127.0.0.1:7481"),
        ("127.0.0.1:7480", "", "https://127.0.0.1:7480"),
        ("127.0.0.1:7480", "", "http://127.0.0.1:7480@hosp-b.example"),
        ("127.0.0.1:7480", "", "http://127.0.0.1:7480.hosp-b.example"),
        ("127.0.0.1:7480", "", "http://hosp-b.example/http://127.0.0.1:7480"),
        ("127.0.0.1:7480", "", "http://salus.hosp-a.example:7480"),  # a name, and no TLS
        ("10.0.0.5:7480", TLS, "http://10.0.0.5:7480"),  # in the clear
        ("10.0.0.5:7480", TLS, "https://127.0.0.1:7480"),  # another program's place
        ("10.0.0.5:7480", TLS, "https://salus.hosp-a.example"),
        ("10.0.0.5:7480", TLS, "https://salus.hosp-a.example.evil.example:7480"),
    ],
)
def test_any_other_does_not(tmp_path: Path, listen: str, more: str, node: str) -> None:
    target = home(tmp_path, listen, more).target(node)
    assert target.urls == (node,)
    assert target.token() is None


class Listener(BaseHTTPRequestHandler):
    heard: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.heard.append(self.headers["Authorization"])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def stranger() -> Iterator[str]:
    Listener.heard = []
    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stranger_hears_no_token_unless_it_is_given_for_him(
    tmp_path: Path, stranger: str, salus: Salus
) -> None:
    home(tmp_path, "127.0.0.1:7480")
    call = ("api", "GET", "/v1/status", "--home", tmp_path, "--node", stranger)
    assert salus(*call).code == 0
    theirs = tmp_path / "theirs"
    theirs.write_text("u" * 43 + "\n")
    theirs.chmod(0o600)
    assert salus(*call, "--api-token", theirs).code == 0
    assert Listener.heard == [None, f"Bearer {'u' * 43}"]


def test_a_token_that_others_can_read_is_not_used(
    tmp_path: Path, stranger: str, salus: Salus
) -> None:
    home(tmp_path, "127.0.0.1:7480")
    theirs = tmp_path / "theirs"
    theirs.write_text("u" * 43 + "\n")
    theirs.chmod(0o644)
    call = ("api", "GET", "/v1/status", "--home", tmp_path, "--node", stranger)
    done = salus(*call, "--api-token", theirs)
    assert (done.code, Listener.heard) == (7, [])
    assert "chmod 600" in done.err
