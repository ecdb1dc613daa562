"""The screen for the language of a query, by py3langid, whose model is inside its wheel."""

from functools import cache
from typing import Any

from ..core.errors import SettingsError
from ..core.installation import install_hint
from .candidate import Candidate
from .words import words

try:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier
except ImportError as error:
    raise SettingsError("the screen language needs py3langid", todo=install_hint("data")) from error

CODES = {
    "English": "en", "Spanish": "es", "Chinese": "zh", "Hindi": "hi", "Arabic": "ar", "Portuguese": "pt",
    "French": "fr", "Bengali": "bn", "Russian": "ru", "Indonesian": "id", "German": "de", "Japanese": "ja",
    "Swahili": "sw", "Urdu": "ur", "Vietnamese": "vi", "Turkish": "tr", "Persian": "fa", "Korean": "ko",
    "Italian": "it", "Polish": "pl", "Ukrainian": "uk", "Tagalog": "tl",
}  # fmt: skip
"""The languages of the shipped table, by their names; others are not screened."""

LIKE = {"id": {"ms", "jv"}, "uk": {"ru", "be"}, "ur": {"fa"}, "pt": {"gl"}, "es": {"gl", "ca"}, "hi": {"mr", "ne"}}
"""Languages so like one another that a short text may pass for either."""

ENOUGH = 8
"""Words from which a text's language can be told."""


async def language(candidate: Candidate) -> str | None:
    """Written in another language than the persona's; English where the persona has none."""
    wanted = CODES.get(candidate.language or "English")
    if wanted is None or len(words(candidate.query)) < ENOUGH:
        return None
    found, certainty = _identifier().classify(candidate.query)
    if found == wanted or found in LIKE.get(wanted, ()) or certainty < 0.9:
        return None
    return f"is written in {found}, not in {wanted}"


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
