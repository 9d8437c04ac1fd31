"""Which files of a page may be kept for a year."""

import pytest

from bff.policy.immutable_assets import immutable_patterns

VITE = '<script type="module" crossorigin src="/assets/index-CqTYsLsM.js"></script>'
REACT = '<script defer="defer" src="/static/js/main.2f1a.js"></script>'
ANGULAR = '<img src="/assets/logo.svg"><script src="main-5X2JQ3ZK.js" type="module"></script>'


@pytest.mark.parametrize(
    ("immutable", "path", "index"),
    [
        (True, "/assets/index-CqTYsLsM.js", VITE),
        (True, "/assets/fonts/a.woff2", VITE),
        (False, "/terms-version2.txt", VITE),
        (False, "/index.html", VITE),
        (False, "/assetsx/a.js", VITE),
        (True, "/static/media/logo.1a2b.svg", REACT),
        (False, "/static/robots.txt", REACT),
        (False, "/assets/logo.svg", ANGULAR),
        (False, "/main-5X2JQ3ZK.js", ANGULAR),
        (False, "/assets/a.js", ""),
    ],
)
def test_a_builds_folder_is_known_by_the_index(immutable: bool, path: str, index: str) -> None:
    """A folder counts only if the index loads its scripts from there."""
    assert immutable == (immutable_patterns(None, index).fullmatch(path) is not None)


@pytest.mark.parametrize(
    ("immutable", "path"),
    [(True, "/main-5X2JQ3ZK.js"), (True, "/files/deep/a"), (False, "/assets/a.js"), (False, "/x/main-1.css")],
)
def test_what_is_set_is_what_counts(immutable: bool, path: str) -> None:
    """Folders and shell patterns; nothing is guessed beside them."""
    pattern = immutable_patterns(["/main-*.js", "/files/"], VITE)
    assert immutable == (pattern.fullmatch(path) is not None)


def test_an_empty_list_keeps_nothing() -> None:
    """`immutable = []`."""
    assert immutable_patterns([], VITE).fullmatch("/assets/index-CqTYsLsM.js") is None
