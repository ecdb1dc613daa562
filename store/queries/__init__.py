"""What is read across many rows: lists, filters, reasons, provenance, export."""
