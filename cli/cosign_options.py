"""The options of a command whose operation others co-sign.

--cosign KEY     a key of this machine co-signs, at once (again for each)
--draft FILE     nothing is sent: the file travels to who co-signs (salus patient cosign), and
                 comes back to be sent (salus patient send)
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def cosigned(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options, as `cosigners` and `draft`."""
    for option in (
        click.option(
            "--draft",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write it for others to co-sign; send nothing.",
        ),
        click.option(
            "--cosign",
            "cosigners",
            multiple=True,
            metavar="KEY",
            help="Who co-signs, of the keys and wallets at hand.",
        ),
    ):
        function = option(function)
    return function
