"""Read queries across many rows: lists, filters, reasons, provenance, export."""
