"""The simulated endpoint: an HTTP server whose replies come from a script, with faults on request."""
