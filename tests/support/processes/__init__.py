"""Servers and workers that tests start."""
