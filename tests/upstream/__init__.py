"""Tests of bff/upstream/."""
