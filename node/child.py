"""What a child process gets of the node that starts it, and what it must not keep."""

import os
import sys

PIPES = 3  # standard input, output and error

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def environment() -> dict[str, str]:
    """The node's, with the places from which it takes its modules, in its order: among installed ones its
    own must not come before the interpreter's. Last its own, which may be in none of them: an editable
    installation finds them by a hook of `site`, when all others have been looked into."""
    places = (*(place for place in sys.path if place and isinstance(place, str)), ROOT)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(places))}


def close_inherited() -> None:
    """All files but the pipes; for a process that has opened nothing yet.

    LevelDB opens its files for children, too, and uvloop, unlike asyncio, closes none of them. A process
    that lives as long as the node would keep each file on the disk that was deleted meanwhile, and could
    write into the others.
    """
    os.closerange(PIPES, os.sysconf("SC_OPEN_MAX"))
