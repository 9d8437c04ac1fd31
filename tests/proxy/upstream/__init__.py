"""Tests of bff/proxy/upstream/."""
