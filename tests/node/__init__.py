"""Tests against certified implementations that npm has: a provider and a client."""
