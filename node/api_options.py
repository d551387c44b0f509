"""From node.toml and the home to what the API is built with: limits, token, certificate."""

import ssl
from pathlib import Path

from node.api.settings import ApiSettings
from node.config import Config
from node.token import api_token


def api_settings(home: Path, config: Config) -> ApiSettings:
    """Raises `ConfigError` if the token file is not fit for its purpose."""
    api = config.api
    token = None if api.auth == "none" else api_token(home / "api.token")
    return ApiSettings(
        token=token,
        hosts=frozenset({"127.0.0.1", "localhost", "[::1]", *api.hosts})
        if api.listen.loopback
        else frozenset(api.hosts),
        cors_origins=frozenset(api.cors_origins),
        subscribers_max=api.subscribers_max,
        rate_per_s=float(api.rate_limit),
        document_bytes_max=api.document_max_bytes,
    )


def api_tls(home: Path, config: Config) -> ssl.SSLContext | None:
    """None: plain HTTP, for loopback or behind a proxy."""
    if config.api.tls_cert is None or config.api.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(home / config.api.tls_cert, home / config.api.tls_key)
    return context
