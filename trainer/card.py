"""The model card that is saved with trained weights: where they come from and what they are not for."""

import json
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

**Not medical advice, and not for use with patients.** The rows were written by language models and checked by no
clinician. The licences of the base model and of the models that wrote the rows apply to these weights.

## Data
| | |
|---|---|
| base model | `{base}` (sha256 or commit `{base_digest}`) |
| rows | `{rows_file}` (sha256 `{rows_digest}`) |
| samples trained on | {rows} of {rows_read} ({rows_dropped} dropped) |
| runs | {runs} |
| tokens a row | {lengths} |

## Training
| | |
|---|---|
| steps, tokens | {steps}, {tokens} |
| loss, first and last step | {loss_first:.4f}, {loss_last:.4f} |
| time | {seconds:.0f} s |
| weights (sha256) | `{digest}` |
| versions | {versions} |

The loss of every step is in `history.json`; only the completion carries loss. Settings and seed:

```json
{settings}
```
"""

TRAINS_ON = {
    "distill": "a teacher's answers to simulated queries (the paper's QueryKD)",
    "refine": "answers refined after critics' rationales, with reasoning composed of them (the paper's MultifacetedSR)",
}


def write_card(trained: TrainedModel, settings: TrainingSettings, facts: dict[str, Any]) -> str:
    """The card's Markdown. `facts`: rows_file, runs, lengths."""
    values = trained.model_dump(mode="json") | {
        "base": _public_name(trained.base),
        "trains_on": TRAINS_ON[trained.stage],
        "rows_read": trained.rows + trained.rows_dropped,
        "versions": ", ".join(f"{name} {version(name)}" for name in LIBRARIES),
        "settings": json.dumps(identity(settings, trained.stage), indent=2),
        "rows_file": facts["rows_file"],
        "runs": ", ".join(f"`{run or 'unnamed'}` ({n})" for run, n in facts["runs"].items()),
        "lengths": ", ".join(f"{name} {n}" for name, n in facts["lengths"].items()),
    }
    return CARD.format(**values)


def _public_name(base: str) -> str:
    """A hub name as it is; of a folder no more than its name, and its stage where training made it."""
    folder = Path(base)
    if not folder.is_dir():
        return base
    return f"{folder.parent.name}/{folder.name}" if folder.name in {"merged", "model"} else folder.name
