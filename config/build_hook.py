"""A hook of the build: an editable installation, which is one of a clone, brings what the demo needs.

`pip install bff-session-proxy` installs the proxy alone; PEP 660 allows an editable installation to have
further dependencies, and a clone is where the demo and the issuer are tried.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class EditableDemo(BuildHookInterface[Any]):
    """Adds the requirements of the extras `issuer` and `demo` to an editable wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build; `version` is "standard" or "editable"."""
        if version == "editable":
            extras = self.metadata.core.optional_dependencies
            own = self.metadata.core.raw_name
            build_data["dependencies"] += [
                text for name in ("issuer", "demo") for text in extras[name] if not text.startswith(own)
            ]
