"""Tests of bff/credentials/."""
