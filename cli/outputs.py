"""What `--json` prints: the type of each command's output, and the types that only a command puts together."""

from collections.abc import Mapping
from typing import Any, Literal

from ..core.comparison import Comparison, Difference
from ..core.types import Persona, Value
from ..endpoints.server.registry import Card
from ..evals.critics import Detection
from ..evals.judges import JudgeComparison
from ..evals.scores import Report
from ..evals.stored import StoredScores
from ..evals.verdicts import JudgeUsed
from ..graph.progress import Summary
from ..graph.replay import Replayed
from ..pipeline.preflight.estimate import Estimate
from ..pipeline.preflight.trial_run import Finding
from ..pipeline.run import PipelineResult
from ..pipeline.steps import StepState
from ..screens.coverage import Coverage
from ..screens.diversity import Diversity
from ..screens.matches import Decontamination, NetScore
from ..store.maintenance.health import Health
from ..store.maintenance.space import Space
from ..store.queries.critics import CriticAccount, Stability
from ..store.queries.listing import Listing, SampleLine
from ..store.queries.losses import Losses
from ..store.queries.provenance import ArtifactLineage, RowLineage, SampleLineage
from ..store.queries.reasons import Reason
from ..store.records.artifacts import Artifact
from ..store.records.history import Pruned
from ..store.records.ledger import Call
from ..store.records.promotion import Promoted
from ..store.records.runs import RunLine
from ..store.records.samples import Trace
from ..trainer.result import TrainedModel
from ..viewer.export import Exported


class PromptCheck(Value):
    """A prompt that a role of the recipe uses, and the file it was read from."""

    prompt: str
    """its name: persona, responder, a critic's name, refiner or judge"""
    file: str
    """the file's path, or its name if it ships with muser"""
    ships: bool
    """whether it ships with muser"""
    shadows: bool
    """whether it lies beside the recipe and replaces the shipped file of the same name"""
    whose: str
    """whose file it is, in words"""
    digest: str
    """SHA-256 of its text, in hex"""


class RoleCheck(Value):
    """A role and the model that plays it."""

    role: str
    """persona, responder, critics.NAME or refiner"""
    model: str
    """the recipe's name for the model, with @STAGE for a stage of the trained one"""
    served_as: str
    """the name that the endpoint serves"""
    speaks: str
    """the role's prompt file, or a critic's function"""


class EndpointCheck(Value):
    """A model that a role uses, and whether its endpoint responds."""

    model: str
    """the recipe's name for the model"""
    url: str | None
    """its addresses; none if muser serves the model during the run"""
    error: str | None
    """why it is unavailable"""
    state: str
    """how it stands, in words"""


class _Checked(Value):
    name: str
    """the run's name"""
    samples: int
    """samples to simulate"""
    queries: int
    """queries in the recipe's file"""
    rounds: int
    """rounds of critique and refinement"""
    concurrency: int | Literal["auto"]
    """samples in flight"""
    store: str
    """the database file"""
    roles: tuple[RoleCheck, ...]
    """the roles in the order in which they are called"""
    screens: dict[str, tuple[str, ...]]
    """stage (query, brought, refinement) → its screens, in their order"""
    refined_by: dict[str, str]
    """role → model, where the pipeline's stage refine uses another model for the role than `muser run`"""
    prompts: tuple[PromptCheck, ...]
    """the prompts that these roles use"""


class RecipeCheck(_Checked):
    """What a recipe's run would do. An invalid recipe is an error instead."""

    endpoints: tuple[EndpointCheck, ...]
    """each model that a role uses"""


class ProbedRecipe(_Checked):
    """What a recipe's run would do, what the trial run found, and what the run will cost."""

    findings: tuple[Finding, ...]
    """what was tested; a `problem` makes the command exit with 1"""
    estimate: Estimate | None
    """the cost; none if problems prevented the trial run"""


class AttributeCheck(Value):
    """An attribute of a table, and how often its values are drawn."""

    attribute: str
    """its name, as a persona and a filter have it"""
    label: str
    """what the persona prompt calls it"""
    shares: dict[str, float]
    """value → the share of the personas that have it"""


class AttributesCheck(Value):
    """An attribute table without faults. A table with faults is an error instead."""

    file: str
    """the table, or the recipe that names it"""
    digest: str
    """SHA-256 of what it means, in hex"""
    attributes: tuple[AttributeCheck, ...]
    """its attributes, in the order in which they are drawn"""
    never: int
    """combinations that it refuses"""
    stratify: tuple[str, ...]
    """the attributes over which every prefix of a run is balanced"""


class DrawnPersona(Value):
    """The persona that a sample would have."""

    key: str
    """the sample's key"""
    persona: Persona
    """attribute → value"""
    texts: dict[str, str]
    """attribute → what the persona prompt says"""


class PairShare(Value):
    """A pair of values of two attributes."""

    values: tuple[str, str]
    """the value, or the note, of either attribute"""
    share: float
    """the share of the personas that have both"""
    ratio: float
    """the share divided by the share that independent attributes would have"""


class PairShares(Value):
    """How often the values of two attributes are drawn together."""

    attributes: tuple[str, str]
    """their names, as given"""
    pairs: tuple[PairShare, ...]
    """every pair of values, the most frequent first"""


class SampleWithCalls(Trace):
    """A sample with everything made from it, and its calls.

    `history` has the turns before the query, `extra` the other fields of its line in a query file. `tokens` counts all
    its calls, reused ones included. `worker` is the process running it. At `pruned_at` its checkpoints were dropped, so
    it can no longer be replayed. A fork starts from the checkpoint `forked_from` of its `origin`. `simulated`: the
    simulated endpoint answered at least one of its calls.
    """

    calls: tuple[Call, ...]
    """its requests and replies, in order"""


class ReplayResult(Replayed):
    """A replay's forks, in a run of their own, by the id of the sample that each was made from.

    `changes` lists how the recipe differs from `node` on, in `round` where one was named. `refused` says why a sample
    has no fork. `calls` were made, `reused` came from the store.
    """

    summary: Summary
    """how the run of forks stands"""
    comparison: Comparison | None = None
    """originals and forks compared; left out if there is only one fork"""


class EvaluationScores(Value):
    """One evaluation's scores."""

    report: Report
    """the scores, overall and by tag"""
    differences: dict[str, dict[str, Difference]]
    """by the run given to --against, then by metric: overall, axis:NAME or theme:NAME"""
    judge: JudgeUsed | None
    """who graded the answers; none without a judge"""


class CoverageReport(Value):
    """How well a run covers its attribute tables, and how diverse its queries are."""

    run: str
    """the run"""
    coverage: Coverage
    """wanted and achieved coverage"""
    diversity: Diversity
    """figures of the queries as texts"""


class ArtifactProvenance(ArtifactLineage):
    """An artifact and all that it comes from: itself first, each once."""

    samples: tuple[str, ...]
    """the ids of all samples that the artifact was made from directly"""


class CriticsReport(Value):
    """What a run's critics did."""

    run: str
    critics: tuple[CriticAccount, ...]
    """the critics in the recipe's order"""
    stability: tuple[Stability, ...]
    """their verdicts on the same answers again; empty without --reask"""
    planted: tuple[Detection, ...]
    """the planted faults that they found; empty without --planted"""


class FetchedModel(Value):
    """A packaged model in the cache."""

    model: str
    """the name that a recipe uses"""
    folder: str
    """its weights and tokenizer; model.gguf in it is what llama.cpp serves"""
    sha256: str
    """SHA-256 of the fetched GGUF file, in hex"""


class FetchedData(Value):
    """A benchmark file that was fetched."""

    data: str
    """its name"""
    file: str
    """where it was written"""
    sha256: str
    """SHA-256 of the file, in hex"""


class ServedModel(Card):
    """A running server. It serves `path` as `name`; adapters up to `lora_rank` can be loaded while it runs.

    It runs on `engine`, with `data_parallel` copies of it. `key_env` names the environment variable with its key;
    the key itself is never printed.
    """

    log: str
    """the server's log file"""
    seconds: float
    """seconds until it responded"""


class StoreSize(Space):
    """Bytes of the file, its log and its tables with their indexes, and the number of rows of each kind.

    `tables` is empty where SQLite was built without its dbstat table. `done` counts finished samples, and `pruned`
    those of them whose steps were dropped.
    """

    parts: dict[str, int]
    """bytes by part: results, texts, search, calls, steps"""
    kib_per_sample: float | None
    """KiB of the file, without free pages, per finished sample"""


class StoreCheck(Health):
    """A store's condition. `corrupted` has SQLite's complaints by table, `broken` the rows that contradict each other.

    `unreadable` names the first samples that cannot be read completely, `unreadable_samples` counts them all.
    """

    sound: bool
    """whether nothing is wrong"""


class Vacuumed(Value):
    """The file's size around a vacuum."""

    before: int
    """bytes before"""
    after: int
    """bytes after"""


class BackedUp(Value):
    """A copy of the database."""

    file: str
    """the copy"""
    bytes: int
    """its size"""


OUTPUTS: Mapping[str, Any] = {
    "check": RecipeCheck,
    "check --probe": ProbedRecipe,
    "preview": list[SampleWithCalls],
    "run": Summary,
    "run --follow": SampleLine | Summary,
    "retry": Summary,
    "replay": ReplayResult,
    "promote": Promoted,
    "pipeline": PipelineResult,
    "pipeline --plan": list[StepState],
    "train": TrainedModel,
    "runs": list[RunLine],
    "show": SampleWithCalls,
    "show --why": Reason,
    "export": Artifact,
    "coverage": CoverageReport,
    "diff": Comparison,
    "critics": CriticsReport,
    "provenance": RowLineage | SampleLineage | ArtifactProvenance,
    "model": FetchedModel,
    "data": FetchedData,
    "serve": ServedModel,
    "view --export": Exported,
    "list": Listing,
    "attributes check": AttributesCheck,
    "attributes preview": list[DrawnPersona],
    "attributes plot": PairShares,
    "eval run": Summary,
    "eval answer": Summary,
    "eval grade": Summary,
    "eval regrade": Summary,
    "eval score": dict[str, EvaluationScores],
    "decontaminate": Decontamination,
    "decontaminate --self-test": list[NetScore],
    "eval score --grades": StoredScores,
    "eval agreement": JudgeComparison,
    "eval failures": Losses,
    "db stats": StoreSize,
    "db check": StoreCheck,
    "db prune": Pruned,
    "db vacuum": Vacuumed,
    "db backup": BackedUp,
}
"""Command → the type of what it prints with --json. `run --follow` prints one value per line, a Summary last."""
