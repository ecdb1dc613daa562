"""Traces and reports as pages. Replays are passed in: the viewer imports neither graph nor endpoints."""
