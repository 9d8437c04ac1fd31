"""Tests of bff.settings."""
