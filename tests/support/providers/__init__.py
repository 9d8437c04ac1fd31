"""Providers of the tests."""
