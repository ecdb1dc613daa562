"""The model card saved with trained weights: how they were made and what not to use them for."""

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..core.recipe import TrainingSettings
from .result import TrainedModel, identity

LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")

CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [muser, medical, {stage}]
---
# {base}, stage `{stage}`

Fine-tuned by muser (multifaceted self-refinement, arXiv 2511.10067) on {trains_on}.

**Not medical advice. Do not use with patients.** Language models wrote the training rows, or the user brought them in a
file; no clinician's review is recorded. The licenses of the base model and of whoever wrote the rows apply to these
weights.

## Data
| | |
|---|---|
| base model | `{base}` (SHA-256 or commit `{base_digest}`) |
| rows file | `{rows_file}` (SHA-256 `{rows_digest}`) |
| rows used | {rows} of {rows_read} ({rows_dropped} dropped, {held_out} held out) |
| rows by run | {runs} |
| tokens per row | {lengths} |
| compared with benchmarks | {decontaminations} |

## Training
| | |
|---|---|
| steps | {steps} |
| tokens | {tokens} |
| loss, mean of the first and last tenth of the steps | {loss_first:.4f}, {loss_last:.4f} |
| loss on {held_out} held-out rows, before and after | {held_out_loss} |
| time | {seconds:.0f} s |
| weights (SHA-256) | `{digest}` |
| versions | {versions} |

Loss is computed on the completion only. `history.json` has the loss of every step. Settings and seed:

```json
{settings}
```
"""

TRAINS_ON = {
    "distill": "first answers to medical queries, a teacher's or brought ones (the paper's QueryKD)",
    "refine": "refined answers, with reasoning composed from critics' rationales (the paper's MultifacetedSR)",
}


def write_card(trained: TrainedModel, settings: TrainingSettings, facts: dict[str, Any]) -> str:
    """The card as Markdown. `facts` has the keys rows_file, runs, lengths and decontaminations."""
    values = trained.model_dump(mode="json") | {
        "base": _public_name(trained.base),
        "trains_on": TRAINS_ON[trained.stage],
        "rows_read": trained.rows + trained.rows_dropped + trained.held_out,
        "held_out_loss": ", ".join(
            "not measured" if loss is None else f"{loss:.4f}"
            for loss in dict.fromkeys((trained.held_out_loss_first, trained.held_out_loss_last))
        ),
        "versions": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "settings": json.dumps(identity(settings, trained.stage), indent=2),
        "rows_file": facts["rows_file"],
        "runs": ", ".join(f"`{run or 'unnamed'}` ({n})" for run, n in facts["runs"].items()),
        "lengths": ", ".join(f"{name} {n}" for name, n in facts["lengths"].items()),
        "decontaminations": "; ".join(map(_comparison, facts["decontaminations"]))
        or "no: `muser decontaminate` does it",
    }
    return CARD.format(**values)


def _comparison(found: Mapping[str, Any]) -> str:
    """What `muser decontaminate` has recorded, without local paths."""
    against = ", ".join(f"`{Path(file).name}` (SHA-256 `{digest}`)" for file, digest in found["against"].items())
    allowed = f", {found['allowed']} allowed after review" if found["allowed"] else ""
    return f"{against}: {found['matches']} matches in {found['compared']} texts{allowed}"


def _public_name(base: str) -> str:
    """A hub name unchanged, or a folder's last part (two parts for a trained stage)."""
    # A card is published with its weights, so it must not show a local path.
    folder = Path(base)
    if not folder.is_dir():
        return base
    return f"{folder.parent.name}/{folder.name}" if folder.name in {"merged", "model"} else folder.name
