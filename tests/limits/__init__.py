"""Tests of bff/limits/."""
