"""Chat models behind one protocol, servers started and stopped, and the simulated endpoint. Knows HTTP, no roles."""
