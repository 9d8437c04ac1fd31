"""The package of `bff/web/client`, with the tools and frameworks that npm has."""
