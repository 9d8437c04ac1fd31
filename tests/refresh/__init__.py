"""Tests of `bff.refresh`: real Redis, and a provider that does to the moment what a test says."""
