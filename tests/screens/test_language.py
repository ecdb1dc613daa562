"""The language of a query is told for every language of the shipped table that has a script or words of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from muser.prompts.attributes import load_attributes
from muser.screens.candidate import Candidate
from muser.screens.language import CODES, language

SAID = {
    "English": "I have had a headache since Monday and it is not getting better, what should I do?",
    "Spanish": "Me duele la cabeza desde el lunes y no mejora, ¿qué puedo hacer en casa?",
    "Hindi": "मुझे सोमवार से सिरदर्द हो रहा है और वह ठीक नहीं हो रहा है, मुझे क्या करना चाहिए?",
    "German": "Ich habe seit Montag Kopfschmerzen, die nicht besser werden. Was kann ich tun?",
    "Russian": "У меня с понедельника болит голова, и мне не становится лучше, что мне делать?",
    "Japanese": "月曜日から頭痛が続いていて良くなりません。どうすればいいですか。",
    "Swahili": "Nina maumivu ya kichwa tangu Jumatatu na hayaponi, nifanye nini sasa?",
    "Arabic": "أعاني من صداع منذ يوم الاثنين ولا يتحسن، ماذا يجب أن أفعل الآن؟",
}


@pytest.mark.parametrize("wanted", SAID)
async def test_the_wanted_language_passes_and_another_does_not(
    candidate: Callable[..., Candidate], wanted: str
) -> None:
    assert await language(candidate(SAID[wanted], language=wanted)) is None
    other = "German" if wanted != "German" else "English"
    assert (await language(candidate(SAID[wanted], language=other)) or "").startswith("is written in ")


async def test_what_cannot_be_told_passes(candidate: Callable[..., Candidate]) -> None:
    assert await language(candidate("Kopfschmerzen. Was tun?")) is None
    assert await language(candidate(SAID["German"], language="Klingon")) is None


def test_every_language_of_the_shipped_table_has_a_code() -> None:
    shipped = load_attributes("attributes.yaml", Path()).choices["language"]
    assert {one.notes["name"] for one in shipped} <= set(CODES)
