"""Support for tests: real servers, and fakes that record their requests."""
