"""Tests of bff.observe."""
