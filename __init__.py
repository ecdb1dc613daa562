"""muser: multifaceted self-refinement (MuSeR) for context-aware medical language models."""

__version__ = "0.1.0"
