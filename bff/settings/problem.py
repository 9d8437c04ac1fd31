"""Problems of the settings, each with its remedy."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SettingProblem:
    """One mistake. None of its texts ever holds a setting's value that could be a secret.

    Attributes:
        key: the setting, as in `session.idle_timeout` or `route[1].upstream`; empty for a whole file.
        message: the mistake.
        fix: the remedy.
        source: its origin: `file:bff.toml`, `env BFF_SESSION__KEYS`, `secret file …`, or `default`.
    """

    key: str
    message: str
    fix: str
    source: str = ""

    def __str__(self) -> str:
        place = f" ({self.source})" if self.source else ""
        return f"{self.key or 'settings'}{place}: {self.message}. {self.fix}"

    def log_fields(self) -> dict[str, str]:
        """The fields of a log event about this problem."""
        return {"setting": self.key, "problem": self.message, "fix": self.fix, "source": self.source}


class SettingsError(Exception):
    """The settings cannot be used; `problems` holds every reason, in the order of the settings."""

    def __init__(self, problems: Sequence[SettingProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = list(problems)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding of a check about valid values.

    Attributes:
        key: the setting it is about.
        message: the mistake.
        fix: the remedy.
        needs: other settings that the finding rests on; if one of them is itself broken, it is moot.
        warning: True if the proxy may start all the same.
    """

    key: str
    message: str
    fix: str
    needs: tuple[str, ...] = ()
    warning: bool = False


def complaint_about(key: str, complaint: tuple[str, str] | None) -> Iterator[Finding]:
    """Yields the finding about one setting of a complaint: a message and its fix; nothing for None."""
    if complaint is not None:
        yield Finding(key, *complaint)
