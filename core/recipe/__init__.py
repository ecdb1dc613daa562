"""The recipe's settings as frozen values, one module a section; import them from here."""

from .models import ModelSettings, ServeSettings
from .recipe import Limits, Recipe
from .roles import RESERVED_CRITICS, CriticSettings, PromptSettings, RoleSettings, RolesSettings
from .settings import NAME, Settings
from .training import EvaluationSettings, LoraSettings, StageSettings, TrainingSettings

__all__ = [
    "NAME",
    "RESERVED_CRITICS",
    "CriticSettings",
    "EvaluationSettings",
    "Limits",
    "LoraSettings",
    "ModelSettings",
    "PromptSettings",
    "Recipe",
    "RoleSettings",
    "RolesSettings",
    "ServeSettings",
    "Settings",
    "StageSettings",
    "TrainingSettings",
]
