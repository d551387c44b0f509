"""What a child process has of its parent and must not keep: open files.

LevelDB opens its files for children, too, and uvloop, unlike asyncio, closes none of them. A process that lives as
long as the node would keep each file on the disk that was deleted meanwhile, and could write into the others.
"""

import os

PIPES = 3  # standard input, output and error


def close_inherited() -> None:
    """All but the pipes; for a process that has opened nothing yet."""
    os.closerange(PIPES, os.sysconf("SC_OPEN_MAX"))
