"""How many shipped personas contradict themselves, by rules of words that know nothing of the table's traits.

A rule holds patterns by attribute. A persona in which all of them occur contradicts itself.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from muser.prompts.attributes import load_attributes
from muser.prompts.sampling import draw_persona

DRAWS = 20_000
MOST = 0.01

LAY = r"patient|teenager|university student|pregnant woman|mother|parent|partner|caregiver|relative|teacher"
CLINICIAN = r"nurse|midwife|practitioner|specialist|pharmacist|paramedic|dentist|physiotherapist"
OF_A_CHILD = r"parent of a (baby|child)|teacher"
OF_SOMEBODY_OLD = r"older patient|caregiver|relative abroad|care assistant"
ABOUT_ONESELF = r"^(patient|older patient|teenager|university student|pregnant woman|new mother)$"
PREGNANCY = (
    r"pregnan(?!cy$)|preterm|labor|post-term|miscarriage|movement of the baby|waters broken|after birth|cesarean"
    r"|breastfeeding|postpartum|mastitis"
)
NOT_PREGNANT = r"contracept|infertility|menopause|planning a pregnancy|endometriosis|polycystic"
OF_MEN = r"prostate|testic|erectile"
OF_INFANTS = r"newborn|infant|nappy|bronchiolitis|reflux in a baby|umbilical|baby feeding|premature"
OF_CHILDREN = (
    rf"{OF_INFANTS}|croup|clubfoot|well-child|child(?!.*abuse)|febrile|squint|delayed speech|school refusal|hand foot"
)
OF_ADULTS = (
    r"dementia|prostate|menopause|osteoporosis|angina|heart attack|parkinson|cataract|copd|alcohol (dep|with)|erectile"
    r"|macular|glaucoma|hip fracture|old age|varicose|gout|burnout|smear|sick note|driving|cirrhosis|high cholesterol"
)
SUDDEN = r"cardiac arrest|choking|unconscious|anaphyla|opioid overdose|carbon monoxide|drowning|chemical in the eye"
SLOW = (
    r"acne|high cholesterol|infertility|cataract|menopause|hair loss|osteoporosis|fatty liver|obesity|short stature"
    r"|sick note|hay fever|smoking|healthy diet|psoriasis|vitamin|burnout|loneliness|directive|vaccines|health check"
)
WELL = r"vaccines|healthy diet|exercise advice|health check|cancer screening|planning a pregnancy|well-child|directive"
TROPICAL = r"^malaria|dengue|yellow fever|sleeping sickness|chagas|lassa|ebola|schistosomiasis|filariasis|cholera"
TEMPERATE = (
    r"germany|united kingdom|ireland|poland|canada|switzerland|austria|japan|korea|russia|siberia|ukraine|zealand"
)
NO_SNAKES = r"ireland|zealand|northern canada"
NO_ENGLISH = (
    r"mexic|guatemala|cuba|bolivia|peru|france|spain|rural china|japan|korea|mali|mozambique|siberia|iran|haiti"
)
LAY_STYLE = r"worried|diary|embarrassed|colloquial"
CLINICAL_STYLE = r"clinical|handover|referral|exam"
BY_COUNTRY = {
    "de": r"german|austria|switzerland", "ja": r"japan", "ko": r"korea", "pl": r"poland", "it": r"italy|switzerland",
    "uk": r"ukraine", "ru": r"russia|siberia|ukraine|kazakhstan", "tr": r"turkey|anatolia", "fa": r"iran|afghanistan",
    "ur": r"pakistan|karachi", "bn": r"bangladesh|dhaka|kolkata", "hi": r"india", "vi": r"vietnam|mekong",
    "id": r"indonesia|jakarta", "tl": r"philippines|manila", "sw": r"kenya|nairobi|tanzania|dar es salaam|uganda|congo",
    "pt": r"portugal|brazil|mozambique|angola", "zh": r"china|taiwan|singapore|canada",
    "fr": r"france|canada|switzerland|haiti|morocco|senegal|mali|ivory|congo|cameroon|rwanda",
    "es": r"spain|mexic|us border|united states|guatemala|cuba|colombia|peru|bolivia|argentina",
    "ar": r"egypt|cairo|morocco|saudi|jordan|refugee camp|iraq|yemen|sudan",
}  # fmt: skip

RULES: dict[str, dict[str, str]] = {
    "a lay asker in clinical form": {"identity": rf"^({LAY})", "style": CLINICAL_STYLE},
    "a clinician who writes as an upset patient": {"identity": CLINICIAN, "style": LAY_STYLE},
    "a clinician who asks what patients ask": {"identity": CLINICIAN, "intent": r"reassured|decide on care|prepare"},
    "a lay asker who asks what clinicians ask": {"identity": rf"^({LAY})", "intent": r"referral|confirm|investigat"},
    "an exam case of no student": {"identity": rf"^({LAY}|{CLINICIAN})", "intent": r"learn from a case"},
    "a child with what only adults have": {"identity": OF_A_CHILD, "condition": OF_ADULTS},
    "a child that is pregnant": {"identity": rf"{OF_A_CHILD}|{OF_SOMEBODY_OLD}", "condition": PREGNANCY},
    "somebody old with what only children have": {"identity": OF_SOMEBODY_OLD, "condition": OF_CHILDREN},
    "an asker who is an infant": {"identity": ABOUT_ONESELF, "condition": OF_INFANTS},
    "a schoolchild that is an infant": {"identity": r"teacher|parent of a (child|teenager)", "condition": OF_INFANTS},
    "a woman with what only men have": {"identity": r"pregnant|mother|midwife", "condition": OF_MEN},
    "pregnant and explicitly not": {"identity": r"pregnant", "condition": NOT_PREGNANT},
    "a mother after birth who is pregnant": {"identity": r"new mother", "condition": r"^late p|term|in pregnancy"},
    "unconscious, and asks": {"identity": ABOUT_ONESELF, "condition": r"unconscious|cardiac arrest|drowning|^choking"},
    "help for somebody, who is the asker": {"identity": ABOUT_ONESELF, "intent": r"help somebody"},
    "vague and complete": {"vagueness": r"^(very )?vague", "completeness": r"^complete"},
    "very vague in clinical form": {"vagueness": r"very vague", "style": CLINICAL_STYLE},
    "complete in a search box": {"completeness": r"^complete|buried", "style": r"terse"},
    "a paramedic at what does not hurry": {"identity": r"paramedic", "condition": SLOW},
    "minutes to act on what takes months": {"intent": r"act at once", "condition": SLOW},
    "prevention or prices in an emergency": {"intent": r"prevent|lower the cost|change daily", "condition": SUDDEN},
    "the cause of no complaint": {"intent": r"find the cause", "condition": WELL},
    "a tropical disease far from the tropics": {"region": TEMPERATE, "condition": TROPICAL},
    "a snake where there are none": {"region": NO_SNAKES, "condition": r"snake bite"},
    "en where it is not spoken": {"language": "en", "region": NO_ENGLISH},
}  # fmt: skip
for code, words in BY_COUNTRY.items():
    RULES[f"{code} where it is not spoken"] = {"language": code, "region": rf"^(?!.*({words}))"}


def broken(persona: dict[str, str]) -> list[str]:
    """The rules that a persona breaks."""
    return [
        name
        for name, words in RULES.items()
        if all(re.search(word, persona[key].lower()) for key, word in words.items())
    ]


def test_fewer_than_one_shipped_persona_in_a_hundred_contradicts_itself() -> None:
    tables = load_attributes("attributes.yaml", Path())
    found = [broken(draw_persona(tables, 0, number)) for number in range(1, DRAWS + 1)]
    reasons = Counter(name for rules in found for name in rules)
    assert sum(bool(rules) for rules in found) < MOST * DRAWS, reasons.most_common()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"style": "clinical notes"}, "a lay asker in clinical form"),
        ({"identity": "parent of a child", "condition": "dementia"}, "a child with what only adults have"),
        ({"identity": "nurse", "intent": "be reassured"}, "a clinician who asks what patients ask"),
        ({"vagueness": "very vague"}, "vague and complete"),
        ({"identity": "pregnant woman", "condition": "prostate cancer"}, "a woman with what only men have"),
        ({"identity": "caregiver", "condition": "newborn jaundice"}, "somebody old with what only children have"),
        ({"identity": "teacher", "condition": "preterm labor"}, "a child that is pregnant"),
        ({"region": "rural China"}, "de where it is not spoken"),
        ({"condition": "dengue"}, "a tropical disease far from the tropics"),
        ({"condition": "choking", "intent": "prevent it"}, "prevention or prices in an emergency"),
        ({"condition": "unconscious person"}, "unconscious, and asks"),
        ({"intent": "act at once", "condition": "acne"}, "minutes to act on what takes months"),
    ],
)
def test_a_rule_finds_the_contradiction_that_it_is_for(changes: dict[str, str], rule: str) -> None:
    sound = {
        "identity": "patient", "language": "de", "region": "Germany", "condition": "back pain",
        "intent": "manage at home", "vagueness": "specific", "completeness": "complete", "style": "plain",
    }  # fmt: skip
    assert broken(sound) == []
    assert rule in broken(sound | changes)


def test_every_rule_speaks_of_values_that_the_shipped_tables_have() -> None:
    tables = load_attributes("attributes.yaml", Path())
    for rule, words in RULES.items():
        for name, word in words.items():
            assert any(re.search(word, choice.value.lower()) for choice in tables.choices[name]), (rule, name)
