"""The Grafana dashboard as pictures: a real Prometheus over a fleet under traffic; each panel drawn."""
