"""A backend-for-frontend session proxy: the tokens stay in Redis, the browser gets an opaque cookie."""

__version__ = "0.1.0"
