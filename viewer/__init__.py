"""Traces and reports as pages. Reads the store; replay is handed in, for the viewer knows no graph and no models."""
