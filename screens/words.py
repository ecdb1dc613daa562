"""A text as a list of words that do not depend on its case, spaces, punctuation and the width of its characters."""

import re
import unicodedata

# Scripts without spaces between words, each character a word: Thai to Tibetan, Burmese, Khmer, kana, Han.
UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and other marks, which \w leaves out: combining ones, of Hebrew, of Arabic, of the scripts of India.
MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
WORD = re.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}_])[\w{MARKS}])+")


def words(text: str) -> list[str]:
    """The words of a text in order, in lower case."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())
