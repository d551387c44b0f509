"""The simulator as machine code: `./scripts/simulate --compiled` (decision 0012).

mypyc, which comes with mypy, compiles the strictly typed modules below. They are built in a copy
of the sources under `.venv`, in a folder named by what they are made of, and run from there: no
compiled file ever lies beside a source, where it would shadow a later one. Production, mutants,
golden files and the tests never run it; what it finds is judged by the interpreted replay.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.sim.splitting import SUFFIX, split

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("salus", "consensus", "contracts", "storage", "node", "tests/sim", "typings")
# Whoever runs many seeds builds first: 240 CPU seconds, against 50 ms saved with each run.
FROM_SEEDS = 5_000
# A run frees all that it took, and the next one takes it again: memory is kept, not given back.
_TUNABLES = "glibc.malloc.tcache_count=400:glibc.malloc.trim_threshold=268435456"
GLOBALS = "tests/sim/globals.h"
# Modules call each other straight, not by way of a table; nobody attacks the stack of a test.
FLAGS = "-fvisibility=hidden -fno-semantic-interposition -fno-plt -fno-stack-protector"
FOLDERS_KEPT = 3  # others may be running from the last ones; one is 40 MB

# Interpreted stay: modules with a msgspec.Struct (mypyc drops its options and field types), with
# subclasses of a builtin, and those whose classes the simulator stands in for (node/gossip.py,
# node/sync.py, node/tally.py …): compiled code insists on the class that the annotation names.
MODULES = {
    "consensus": "checkpoint config invariants log normal_case proofs replica restore signing "
    "snapshot state status view_change votes",
    "contracts": "catalogue changes fields governance_turn member_acts runtime state",
    "node": "admission alarms bodies epochs errand evidence executor genesis_block gossip_rules "
    "entry judge later mempool outlet pace pipeline proposer quotas ready rejoin replay roster seats "
    "uncertified verified window",
    "node/net": "clock queues",
    "salus": "governance hashing merkle staff writeset",
    "storage": "blocks bucket_log buckets cache disk keys kv place_rows segment state votes",
    "tests/sim": "checkers choices cluster disk duties execution files forgeries kv liars lies "
    "founding lawful light machine network observer parts patience plan politics power promises "
    "reference_adapter reference_disk reference_duties rules shell signatures trace work",
}

# With structs or exceptions: all but those is compiled (splitting.py).
SPLIT = (
    "salus/codec salus/validators salus/vote salus/transaction salus/block salus/statemap "
    "salus/certificate consensus/messages storage/journal tests/sim/reference"
)

_MYPY = """[mypy]
strict = true
implicit_reexport = true
warn_return_any = false
warn_unused_ignores = false
mypy_path = typings
"""


class CannotCompile(Exception):
    """The reason, for a person."""


def active() -> bool:
    """Does this process run the machine code?"""
    from tests.sim import cluster

    return not str(cluster.__file__).endswith(".py")


def run(arguments: Sequence[str], say: Callable[[str], None]) -> int:
    """The simulator with these arguments, compiled; interpreted where it cannot be, and says so.
    `say` gets its lines; returns its exit code."""
    try:
        folder = prepare()
    except CannotCompile as error:
        _say(f"{error}. It runs interpreted, with the same results")
        folder = ROOT
    else:
        _say(f"running from {folder}")
    command = [sys.executable, "-m", "tests.sim", *arguments]
    environment = {"GLIBC_TUNABLES": _TUNABLES, **os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as ran:
        assert ran.stdout is not None
        for line in ran.stdout:
            say(line.rstrip("\n"))
    return ran.returncode


def prepare() -> Path:
    """The folder with the compiled simulator of these sources, built if it is not there.
    Raises `CannotCompile`."""
    try:
        maker = f"mypy {version('mypy')}"
    except PackageNotFoundError:
        raise CannotCompile(
            "mypyc is missing: ./scripts/setup test installs it with mypy"
        ) from None
    compiler = shlex.split(str(sysconfig.get_config_var("CC") or "cc"))[0]
    if shutil.which(compiler) is None:
        raise CannotCompile(f"there is no C compiler ({compiler})")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise CannotCompile("the headers of this Python are missing (Python.h)")
    home = Path(sys.prefix) / "compiled-simulator"
    folder = home / _fingerprint(maker)
    if folder.exists():
        folder.touch()
        return folder
    _say("building, once for these sources: one to three minutes of CPU on all cores")
    started = time.monotonic()
    building = home / f"building-{os.getpid()}"
    try:
        _copy(building)
        _make(building)
        shutil.rmtree(building / "build")
        building.replace(folder)
    except OSError:
        if not folder.exists():  # Another process was faster.
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    _say(f"built in {time.monotonic() - started:.0f} s")
    _prune(home)
    return folder


def _sources() -> list[Path]:
    found = [ROOT / "tests" / "__init__.py"]
    for package in PACKAGES:
        found += (ROOT / package).rglob("*.py")
        found += (ROOT / package).rglob("*.pyi")
    found += (ROOT / "tests" / "sim").glob("*.h")
    return sorted(path for path in found if not path.name.startswith("test_"))


def _fingerprint(maker: str) -> str:
    digest = hashlib.sha256(f"{maker} {sys.version}".encode())
    for path in _sources():
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _copy(folder: Path) -> None:
    for path in _sources():
        there = folder / path.relative_to(ROOT)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
    for name in SPLIT.split():
        path = folder / f"{name}.py"
        halves = split(path.read_text(), name.replace("/", "."))
        if halves is not None:
            path.with_name(path.stem + SUFFIX + ".py").write_text(halves[0])
            path.write_text(halves[1])
    (folder / "mypyc.cfg").write_text(_MYPY)


def _make(folder: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.sim.compiled"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        # mypyc has no exception for a construct that it does not know: its words are the reason.
        lines = [line[:300] for line in ran.stdout.splitlines() if "error" in line.lower()]
        raise CannotCompile("mypyc refuses these sources: " + "; ".join(lines[:3]))


def _prune(home: Path) -> None:
    """The oldest go; `prepare` touches what it uses."""
    built = [each for each in home.iterdir() if not each.name.startswith("building-")]
    built.sort(key=lambda each: each.stat().st_mtime)
    for each in built[:-FOLDERS_KEPT]:
        shutil.rmtree(each, ignore_errors=True)


def _build() -> None:
    """In the copied folder, by a process of its own: mypyc and setuptools print and exit."""
    from mypyc.build import mypycify
    from setuptools import setup
    from setuptools.command.build_ext import build_ext

    class Parallel(build_ext):  # type: ignore[misc]
        """All sources are one extension, which setuptools would compile one by one."""

        def build_extensions(self) -> None:
            one_by_one = self.compiler.compile

            def compile_one(source: str, options: dict[str, Any]) -> list[str]:
                flags = [*(options.pop("extra_postargs", None) or []), *FLAGS.split()]
                if Path(source).name.startswith("__native"):
                    _visit_once(Path(source))
                    flags += ["-include", GLOBALS]
                return one_by_one([source], extra_postargs=flags, **options)

            def compile_all(sources: list[str], **options: Any) -> list[str]:
                with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
                    made = pool.map(lambda source: compile_one(source, {**options}), sources)
                    return [each for objects in made for each in objects]

            self.compiler.compile = compile_all
            super().build_extensions()

    files = [f"{package}/{name}.py" for package, names in MODULES.items() for name in names.split()]
    files += [f"{name}.py" for name in SPLIT.split()]
    # -O2 takes 100 CPU seconds more than -O1 to build, which some 20,000 runs give back.
    extensions = mypycify(
        ["--config-file", "mypyc.cfg", *files], opt_level="2", debug_level="0", multi_file=True
    )
    setup(
        name="simulator",
        packages=[],
        ext_modules=extensions,
        cmdclass={"build_ext": Parallel},
        script_args=["--quiet", "build_ext", "--inplace"],
    )


def _visit_once(source: Path) -> None:
    """Where a subclass sets a default anew, mypyc shows the collector that attribute twice; what is
    counted once and shown twice is taken for garbage while others hold it."""
    lines, seen = [], set[str]()
    for line in source.read_text().splitlines(keepends=True):
        if not line[0].isspace():
            seen.clear()
        if line.lstrip().startswith("Py_VISIT("):
            if line in seen:
                continue
            seen.add(line)
        lines.append(line)
    source.write_text("".join(lines))


def _say(text: str) -> None:
    sys.stderr.write(f"simulate --compiled: {text}.\n")


if __name__ == "__main__":
    _build()
