"""Backends, relays and sockets of the tests."""
