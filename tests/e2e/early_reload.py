"""A node whose operator reloads it too early: SIGHUP comes before it has read its configuration, and
while it opens its keys. For tests/e2e/test_reload.py; it is run as a node is."""

import os
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import node.process
from cli.commands import start
from cli.main import main
from salus.keystore import Keystore

P = ParamSpec("P")
R = TypeVar("R")


def hurried(function: Callable[P, R]) -> Callable[P, R]:
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        os.kill(os.getpid(), signal.SIGHUP)
        return function(*args, **kwargs)

    return run


class HurriedPreflight(start.Preflight):
    run = hurried(start.Preflight.run)


class HurriedKeystore(Keystore):
    unlock = staticmethod(hurried(Keystore.unlock))  # type: ignore[assignment]


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as systemd starts it; nohup(1) is inherited
    start.Preflight = HurriedPreflight  # type: ignore[misc]
    node.process.Keystore = HurriedKeystore  # type: ignore[misc]
    main(["start", *sys.argv[1:]])
