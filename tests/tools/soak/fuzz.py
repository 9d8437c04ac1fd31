"""Fuzzing of the parsers, the server protocol and the data path, guided by coverage where there is atheris.

An input that raises, hangs, or is read otherwise than by two slower readers is printed and kept; put it
into `tests/data/fuzz/<target>/`, where the suite tries it from then on.
"""

import argparse
import faulthandler
import importlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support import corpus

TARGETS = ("answer", "door", "path")
Check = Callable[[bytes], None]

_HANGS_AFTER = 20
_MAX_LENGTH = 2048
_LONGEST = {"answer": _MAX_LENGTH, "door": _MAX_LENGTH, "path": 100}  # bytes that are worth their time
_BLOCKS = 200  # inputs between two looks at the clock
_TOKENS = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b";", b",", b"0\r\n\r\n", b"5\r\nhello\r\n",
    b"Content-Length: ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: ",
    b"chunked", b"gzip, ", b"Connection: close\r\n", b"Connection: ", b"keep-alive", b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b"Host: app.example.com\r\n", b"Trailer: X\r\n", b"HTTP/1.1", b"HTTP/1.0",
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 304 \r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n", b"GET / HTTP/1.1\r\n",
    b"POST /x HTTP/1.1\r\n", b"HEAD ", b"hello",
]  # fmt: skip


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument("--target", choices=TARGETS, action="append", help="only this one; may be repeated")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fuzzes the targets side by side; 1 if something was found."""
    targets: Sequence[str] = arguments.target or TARGETS
    seed = arguments.seed or random.SystemRandom().randrange(1, 1 << 31)
    seconds = max(1, round(arguments.minutes * 60))
    print(f"seed {seed}, {seconds} s, {'guided by coverage' if guided() else 'blind: no atheris here'}")  # noqa: T201 - a command
    with tempfile.TemporaryDirectory() as name:
        children = []
        for target in targets:
            folder = Path(name, target)
            write_seeds(folder, target)
            command = [
                sys.executable,
                "-m",
                "tests.tools.soak.fuzz",
                target,
                str(folder),
                str(seconds),
                str(seed),
            ]
            children.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        status = 0
        for target, child in zip(targets, children, strict=True):
            said = child.communicate()[0].decode(errors="replace")
            status |= tell(target, child.returncode, said, Path(name, target, "found"))
    return status


def tell(target: str, returned: int, said: str, folder: Path) -> int:
    """Prints how one target went, and keeps what was found."""
    found = sorted(folder.iterdir())
    if not returned and not found:
        lines = [line for line in said.splitlines() if "stat::number_of_executed_units" in line]
        print(f"{target}: nothing found; {' '.join(lines).rpartition(':')[2].strip() or 0} inputs")  # noqa: T201 - a command
        return 0
    print(said[-6000:])  # noqa: T201 - a command
    for path in found:
        kept = Path(tempfile.gettempdir(), f"fuzz-{target}-{path.name}.bin")
        kept.write_bytes(path.read_bytes())
        print(f"{target}: FOUND {path.read_bytes()!r}, kept as {kept}")  # noqa: T201 - a command
    return 1


def guided() -> bool:
    """Return True if atheris is installed."""
    return importlib.util.find_spec("atheris") is not None


def seeds(target: str) -> list[bytes]:
    """The first inputs: the corpora, and earlier findings."""
    if target == "answer":
        begun = [bytes([14 + (method == "HEAD")]) + corpus.raw(text) for method, text in corpus.answers()]
    elif target == "path":
        begun = []
    else:
        begun = [
            b"\x09" + text.replace("HOST", "app.example.com").replace("TAG", "x").encode("latin-1")
            for text in corpus.requests().values()
        ]
    return [seed for seed in [*begun, *corpus.found(target)] if len(seed) <= _MAX_LENGTH]


def write_seeds(folder: Path, target: str) -> None:
    """Writes the corpus and the dictionary for one run."""
    (folder / "corpus").mkdir(parents=True)
    (folder / "found").mkdir()
    for number, seed in enumerate(seeds(target)):
        (folder / "corpus" / f"{number:04}").write_bytes(seed)
    words = ["".join(f"\\x{byte:02x}" for byte in token) for token in _TOKENS]
    (folder / "dictionary").write_text("".join(f'"{word}"\n' for word in words))


def child(target: str, folder: Path, seconds: int, seed: int) -> None:
    """Fuzzes one target until the time is over or something is found."""
    if guided():
        fuzz_guided(target, folder, seconds, seed)
    else:
        begun = [path.read_bytes() for path in sorted((folder / "corpus").iterdir())]
        fuzz_blind(load(target), begun, folder, seconds, seed)


def load(target: str) -> Check:
    """The check of a target."""
    check: Check = importlib.import_module(f"tests.tools.soak.{target}_target").check
    return check


def fuzz_guided(target: str, folder: Path, seconds: int, seed: int) -> None:
    """Fuzzes by atheris, which ends the process itself."""
    import atheris  # noqa: PLC0415 - not everywhere

    with atheris.instrument_imports(
        include=["bff.credentials", "bff.proxy", "bff.upstream", f"tests.tools.soak.{target}_target"]
    ):
        check = load(target)
    options = {
        "seed": seed,
        "max_total_time": seconds,
        "max_len": _LONGEST[target],
        "timeout": _HANGS_AFTER,
        "rss_limit_mb": 1024,
        "print_final_stats": 1,
        "verbosity": 0,
        "dict": folder / "dictionary",
        "artifact_prefix": f"{folder}/found/",
    }
    atheris.Setup(["fuzz", *(f"-{key}={value}" for key, value in options.items()), f"{folder}/corpus"], check)
    atheris.Fuzz()


def fuzz_blind(check: Check, begun: list[bytes], folder: Path, seconds: int, seed: int) -> None:
    """Fuzzes by chance alone."""
    chance = random.Random(seed)  # noqa: S311 - a seeded run can be repeated
    until, count = time.monotonic() + seconds, 0
    try:
        while time.monotonic() < until:
            faulthandler.dump_traceback_later(_HANGS_AFTER, exit=True)
            for _ in range(_BLOCKS):
                data = mutated(chance, begun)
                (folder / "found" / "last").write_bytes(data)
                check(data)
                count += 1
    finally:  # or else it ends the caller's process later on, in which something was found
        faulthandler.cancel_dump_traceback_later()
    (folder / "found" / "last").unlink(missing_ok=True)
    print(f"stat::number_of_executed_units: {count}")  # noqa: T201 - as libFuzzer does


def mutated(chance: random.Random, begun: list[bytes]) -> bytes:
    """One of the seeds, changed in one to four places."""
    data = bytearray(chance.choice(begun))
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.randint(0, 8))
        match chance.randrange(5):
            case 0:
                del data[at:end]
            case 1:
                data[at:at] = chance.choice(_TOKENS)
            case 2:
                data[at:at] = data[at:end] * chance.randint(1, 3)
            case 3:
                data[at:end] = chance.randbytes(end - at)
            case _:
                other = chance.choice(begun)
                data[at:] = other[chance.randrange(len(other)) :]
    return bytes(data[:_MAX_LENGTH])


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
