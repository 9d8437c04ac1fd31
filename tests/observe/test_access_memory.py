"""What an access line keeps of what a client chose."""

import tracemalloc

from bff.observe.access import AccessLines, line_end, line_start


def test_long_paths_are_not_kept() -> None:
    """A client that asks for a thousand different long paths leaves no memory of them behind."""
    written: list[int] = []
    lines = AccessLines(lambda text: written.append(len(text)))
    tracemalloc.start()
    for number in range(1000):
        start = line_start("GET", f"/{number}" + "x" * 30_000)
        lines.note(start, 404, 0.0, line_end("spa", None), "r")
        lines.flush()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 1000 * 30_000 < sum(written)
    assert 5_000_000 > kept
