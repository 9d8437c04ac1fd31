"""The endpoints under /bff, and the SPA."""
