"""The carriers that node.toml configures."""

from pathlib import Path

from node.carriers import Carrier, Mail, PrintList, WebHook
from node.config_tables import OutboxTable
from node.contacts import CarrierName
from node.errors import ConfigError, ConfigProblem

PASSWORD_BYTES_MAX = 1_024


def carriers_of(home: Path, table: OutboxTable) -> dict[CarrierName, Carrier]:
    """None that is not configured. Raises `ConfigError` for a password that others may read."""
    found: dict[CarrierName, Carrier] = {}
    if table.smtp_host is not None:
        assert table.smtp_from is not None, "node/config.py demands it"
        found[CarrierName.EMAIL] = Mail(
            table.smtp_host,
            table.smtp_port,
            table.smtp_security,
            table.smtp_from,
            table.smtp_user or "",
            _password(home / table.smtp_password_file) if table.smtp_password_file else "",
        )
    if table.webhook_hosts:
        found[CarrierName.WEBHOOK] = WebHook(frozenset(map(str.lower, table.webhook_hosts)))
    if table.print_list is not None:
        found[CarrierName.PRINT] = PrintList(home / table.print_list)
    return found


def _password(path: Path) -> str:
    """The first line of a file that only its owner can read."""
    try:
        with path.open(encoding="utf-8") as stream:
            mode = path.stat().st_mode
            first = stream.read(PASSWORD_BYTES_MAX).partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        raise _bad(path, "the password cannot be read") from None
    if mode & 0o077 or not first:
        raise _bad(path, "it must hold a password and be readable by its owner only: chmod 600")
    return first


def _bad(path: Path, why: str) -> ConfigError:
    return ConfigError(
        (ConfigProblem("CONFIG_UNSAFE", path.name, "outbox.smtp_password_file", why),)
    )
