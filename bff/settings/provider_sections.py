"""The sections of providers: their names, and other values in one of them. Pure."""

from collections.abc import Mapping

from bff.settings.model import Settings


def provider_section(settings: Settings, number: int) -> str:
    """Returns the name of a provider's section in findings, logs and metrics."""
    return f"provider[{number}]" if settings.more_providers else "provider"


def with_provider(settings: Settings, number: int, update: Mapping[str, object]) -> Settings:
    """Returns the settings with other values of one provider."""
    provider, *more = (
        each.model_copy(update=update) if place == number else each
        for place, each in enumerate(settings.providers())
    )
    return settings.model_copy(update={"provider": provider, "more_providers": tuple(more)})
