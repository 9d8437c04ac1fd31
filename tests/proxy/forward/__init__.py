"""Tests of bff/proxy/forward/."""
