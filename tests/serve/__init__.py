"""Tests of bff.serve."""
