"""Tests of bff/proxy/server/."""
