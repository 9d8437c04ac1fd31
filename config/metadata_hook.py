"""A hook of the build: the project's address, which whoever publishes gives.

`PROJECT_URL=https://github.com/owner/name python -m build` names it in the package's metadata, and turns the
README's relative links and pictures into absolute ones of the tag `v<version>`: an index shows no others.
Without the variable the metadata names no address, and the README stays as it is.
"""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#)(?P<path>[^)\s]+)\)")


def absolute(readme: str, url: str, version: str) -> str:
    """Returns the text with its relative links leading to the files of the tag, at GitHub's addresses."""

    def link(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"
        return f"{found['picture']}[{found['text']}]({url}/{kind}/v{version}/{found['path']})"

    return _LINK.sub(link, readme)


class ProjectUrls(MetadataHookInterface):
    """Fills in `project.urls` and `project.readme`."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling with the table `[project]`, before each build."""
        text = Path(self.root, "README.md").read_text()
        url = os.environ.get("PROJECT_URL", "").rstrip("/")
        if url:
            if not re.fullmatch(r"https://[^\s/]+/\S+", url):
                raise ValueError(f"PROJECT_URL: {url!r} is not https://host/owner/name")
            tree = f"{url}/blob/v{metadata['version']}"
            metadata["urls"] = {
                "Source": url,
                "Documentation": f"{tree}/.github/docs/index.md",
                "Changelog": f"{tree}/.github/CHANGELOG.md",
                "Issues": f"{url}/issues",
                "Security": f"{tree}/.github/SECURITY.md",
            }
            text = absolute(text, url, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
