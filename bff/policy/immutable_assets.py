"""Files of a page that never change under their name, because a build puts a hash of them into it. Pure."""

import re
from collections.abc import Sequence
from fnmatch import translate
from typing import Final

_BUILDS: Final = {
    "/assets/": ("/assets/",),  # Vite
    "/static/js/": (
        "/static/js/*",
        "/static/css/*",
        "/static/media/*",
    ),  # webpack
    "/_app/immutable/": ("/_app/immutable/",),  # SvelteKit
    "/_next/static/": ("/_next/static/",),  # Next.js, exported
    "/_nuxt/": ("/_nuxt/",),  # Nuxt
}
"""The folders that builds put such files in, by the folder that their index loads its scripts from."""


def immutable_patterns(wanted: Sequence[str] | None, index: str) -> re.Pattern[str]:
    """Returns a pattern for the paths of such files.

    Args:
        wanted: `spa.immutable`: folders, which end in "/", and shell patterns as "/main-*.js"; None to find
            them by `index`.
        index: the text of the page's index. A folder counts if the index loads a script from it:
            a file in Angular's "/assets/", which is named as Vite's, has no hash.
    """
    if wanted is None:
        wanted = [
            pattern
            for folder, patterns in _BUILDS.items()
            if re.search(rf"""<script[^>]*\ssrc=["']?{re.escape(folder)}""", index)
            for pattern in patterns
        ]
    return paths_pattern(wanted)


def paths_pattern(items: Sequence[str]) -> re.Pattern[str]:
    """Returns a pattern for the paths of folders, which end in "/", and of shell patterns as "/main-*.js"."""
    shell = [f"{item}*" if item.endswith("/") else item for item in items]
    return re.compile("|".join(map(translate, shell)) or r"(?!)")
