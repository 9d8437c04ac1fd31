"""The issuer's endpoints and pages."""
