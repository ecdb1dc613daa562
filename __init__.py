"""muser: multifaceted self-refinement (MuSeR) for context-aware medical language models."""

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.loading import load_recipe
    from .graph.run import run_recipe
    from .store.file.database import Store
    from .store.records.samples import get_trace

    open_store = Store.open

__version__ = "0.1.0"
__all__ = ["get_trace", "load_recipe", "open_store", "run_recipe"]

_PLACES = {
    "get_trace": ("store.records.samples", "get_trace"),
    "load_recipe": ("core.loading", "load_recipe"),
    "open_store": ("store.file.database", "Store.open"),
    "run_recipe": ("graph.run", "run_recipe"),
}


# PEP 562: a name is imported when it is first used, so `import muser` loads neither LangGraph nor SQLite.
def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _PLACES[name]
    return attrgetter(attribute)(import_module(f".{module}", __name__))
