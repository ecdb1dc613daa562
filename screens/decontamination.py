"""Decontamination: finds the texts that copy a benchmark's, with three nets."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from ..core.hashing import file_digest
from .embeddings import embed
from .fuzzy import Fuzzy
from .matches import NETS, Decontamination, Match, Net, Suspect, match_hash
from .ngrams import Ngrams
from .references import Reference, read_references
from .words import words

MEANING = 0.87
"""The cosine from which a text means the same as a benchmark's."""

MEANT = 5
"""Words of the shortest text whose vector is compared: shorter ones are near too many others."""


class Benchmark:
    """A benchmark's texts, prepared for comparison."""

    def __init__(self, references: Sequence[Reference]) -> None:
        self.references = references
        texts = [reference.text for reference in references]
        found = [words(text) for text in texts]
        self._ngrams = Ngrams(found)
        self._fuzzy = Fuzzy(texts)
        self._vectors = embed(texts)
        self._vectors[[len(text) < MEANT for text in found]] = 0

    def find(self, text: str) -> dict[int, dict[Net, float]]:
        """Number of a reference → net → similarity, for the references that the text copies."""
        found: dict[int, dict[Net, float]] = {}
        own = words(text)
        by_net: dict[Net, dict[int, float]] = {
            "ngrams": self._ngrams.find(own),
            "fuzzy": self._fuzzy.find(text),
            "embeddings": self._alike(text) if len(own) >= MEANT else {},
        }
        for net, hits in by_net.items():
            for number, score in hits.items():
                found.setdefault(number, {})[net] = round(min(score, 1.0), 3)
        return found

    def _alike(self, text: str) -> dict[int, float]:
        cosines = self._vectors @ embed([text])[0]
        return {int(number): float(cosines[number]) for number in np.flatnonzero(cosines >= MEANING)}

    def compare(
        self, of: str, files: Iterable[Path], suspects: Iterable[Suspect], allowed: Collection[str] = ()
    ) -> Decontamination:
        """Compare the texts of a run, or of a file of rows, with the benchmark that these files hold."""
        compared, permitted, matches = 0, 0, list[Match]()
        nets: Counter[Net] = Counter(dict.fromkeys(NETS, 0))
        for suspect in suspects:
            compared += 1
            found = self._matches(suspect)
            left = [match for match in found if match.hash not in allowed]
            permitted += len(found) - len(left)
            matches += left
            nets.update({net for match in left for net in match.nets})
        return Decontamination(
            of=of,
            against={str(path): file_digest(path) for path in files},
            references=len(self.references),
            compared=compared,
            nets=dict(nets),
            allowed=permitted,
            matches=tuple(matches),
        )

    def _matches(self, suspect: Suspect) -> list[Match]:
        """What the text copies, the most similar first."""
        found = self.find(suspect.text)
        references = [(self.references[number], nets) for number, nets in found.items()]
        references.sort(key=lambda one: -max(one[1].values()))
        return [
            Match(**dict(suspect), nets=nets, reference=reference, hash=match_hash(suspect.text, reference.text))
            for reference, nets in references
        ]


def decontaminated(files: Sequence[Path]) -> Callable[[str], str | None]:
    """A function that says which text of these benchmarks a text copies, or None. Raises InputError for a bad file."""
    benchmark = Benchmark(read_references(files))

    def copied(text: str) -> str | None:
        found = benchmark.find(text)
        if not found:
            return None
        number, nets = max(found.items(), key=lambda one: max(one[1].values()))
        reference = benchmark.references[number]
        scores = ", ".join(f"{net} {score:.2f}" for net, score in nets.items())
        return f"copies a {reference.kind} of {reference.where} ({scores})"

    return copied
