"""One stage of supervised fine-tuning with TRL: turns rows and a base model into a model to serve; resumable."""

import json
import logging
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import TrainingError
from ..core.hashing import file_digest
from ..core.packaged import GGUF
from ..core.recipe import StageSettings, TrainingSettings
from ..core.types import Stage
from .card import write_card
from .gguf import write_gguf
from .library_logs import library_logs, translated
from .memory import MemoryPlan, plan_memory
from .result import (
    TrainedModel,
    TrainingProgress,
    folder_digest,
    folder_name,
    smoothed,
    stage_settings,
    training_inputs,
)
from .rows import RowReport, Tally, control_tokens, encode_rows, read_rows
from .workdir import appearing, finish, finished, last_checkpoint, locked, write_whole

OnProgress = Callable[[TrainingProgress], None]
OnRows = Callable[[RowReport], None]
OnMemory = Callable[[MemoryPlan], None]
DrawLoss = Callable[[list[dict[str, Any]], Path], None]


def train_stage(
    settings: TrainingSettings,
    stage: Stage,
    *,
    base: str | Path,
    rows: Path,
    output: Path,
    on_rows: OnRows | None = None,
    on_memory: OnMemory | None = None,
    on_progress: OnProgress | None = None,
    draw_loss: DrawLoss | None = None,
    decontaminations: Sequence[Mapping[str, Any]] = (),
) -> TrainedModel:
    """Train `base` (a folder or hub name) on a file of rows, on a GPU if there is one.

    Works in `output/STAGE-DIGEST`; the digest covers every input that affects the weights. The same call resumes from
    the last complete checkpoint or returns the finished result; changed inputs train in a new folder. Writes `model/`
    (with LoRA `adapter/` and `merged/`), `history.json` and, if `draw_loss` is given, `loss.png`; the libraries log to
    `output/training.log`. The card names `decontaminations`, comparisons with benchmarks. Calls `on_rows`, and on a CPU
    `on_memory`, before training starts. Raises InputError for unusable rows, otherwise TrainingError.
    """
    if stage == "base":
        raise TrainingError("stage base cannot be trained: training starts from it", todo="train distill or refine")
    with translated(output):
        next(read_rows(rows))  # fails on a missing or empty file before any library loads
        output.mkdir(parents=True, exist_ok=True)
        with library_logs(output / "training.log") as log:
            inputs = training_inputs(settings, stage, base=_base_digest(base), rows=file_digest(rows))
            folder = output / folder_name(stage, inputs)
            with locked(folder):
                if (trained := finished(folder)) is not None:
                    return trained
                log.info("%s: training %s on %s", folder.name, base, rows)
                training = _Training(settings, stage, str(base), rows, folder, log)
                trained, report = training.run(inputs, on_rows, on_memory, on_progress)
                training.document(trained, report, draw_loss, decontaminations)
                finish(folder, trained)
                return trained


@dataclass
class _Training:
    """The steps of one training and their shared state."""

    settings: TrainingSettings
    stage: Stage
    base: str
    rows: Path
    folder: Path
    log: logging.Logger
    history: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tally = Tally(self.own.max_length, self.own.held_out)

    @property
    def own(self) -> StageSettings:
        return stage_settings(self.settings, self.stage)

    def run(
        self,
        inputs: dict[str, Any],
        on_rows: OnRows | None,
        on_memory: OnMemory | None,
        on_progress: OnProgress | None,
    ) -> tuple[TrainedModel, RowReport]:
        from .callbacks import TrainingCallback, check_weights

        tokenizer = self.load_tokenizer()
        dataset, held_out = self.encode(tokenizer)
        report = self.tally.report()
        for row in report.dropped:
            self.log.warning("line %d (%s) dropped: %s, %d tokens", row.line, row.sample, row.reason, row.tokens)
        if on_rows is not None:
            on_rows(report)
        plan = self.plan_memory(report)
        if plan is not None and on_memory is not None:
            on_memory(plan)
        callback = TrainingCallback(self.stage, on_progress)
        trainer = self.make_trainer(tokenizer, dataset, callback, plan is None or plan.checkpointing)
        checkpoint = last_checkpoint(self.folder)
        self.log.info("starting from %s", checkpoint.name if checkpoint else "the base model")
        # Also on a resume: the trainer loads the checkpoint later, so these are still the base model's weights.
        held_out_loss_first = held_out_loss(trainer, held_out)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        check_weights(trainer.model, trainer.state.global_step)
        self.history = [entry for entry in trainer.state.log_history if "loss" in entry]
        losses, steps = [entry["loss"] for entry in self.history], trainer.state.global_step
        held_out_loss_last = held_out_loss(trainer, held_out)
        adapter, path = self.save(trainer.model, tokenizer)
        trained = TrainedModel(
            stage=self.stage,
            path=path,
            adapter=adapter,
            base=self.base,
            base_digest=inputs["base"],
            digest=folder_digest(path, weights_only=True),
            rows_digest=inputs["rows"],
            rows=report.kept,
            rows_dropped=len(report.dropped),
            drop_reasons=dict(Counter(row.reason for row in report.dropped)),
            held_out=report.held_out,
            steps=steps,
            loss_first=smoothed(losses[: max(1, steps // 10)], steps),
            loss_last=smoothed(losses, steps),
            held_out_loss_first=held_out_loss_first,
            held_out_loss_last=held_out_loss_last,
            seconds=self.history[-1]["seconds"],
            tokens=self.history[-1]["tokens"],
            peak_memory_mb=_peak_memory_mb(),
        )
        return trained, report

    def load_tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.base)
        except (OSError, ValueError) as error:
            raise _unloadable(self.base, error) from error
        if not tokenizer.chat_template:
            raise TrainingError(
                "the base model has no chat template, so rows cannot be rendered",
                where=self.base,
                todo="start from an instruction-tuned model, or add chat_template.jinja to its folder",
            )
        return tokenizer

    def encode(self, tokenizer: Any) -> tuple[Any, Any]:
        """(rows to train on, held-out rows) as memory-mapped datasets whose `labels` are what `loss_spans` shows."""
        from datasets import Dataset, Features, List, Value
        from datasets.exceptions import DatasetGenerationError

        held_out: list[bool] = []

        def examples() -> Iterator[dict[str, list[int]]]:
            for row in encode_rows(read_rows(self.rows), tokenizer, self.tally):
                held_out.append(row.held_out)
                # PyTorch's cross-entropy ignores label -100; TRL keeps the labels of a dataset that has input_ids.
                yield {"input_ids": row.ids, "labels": [-100] * row.start + row.ids[row.start :]}
            self.tally.report()

        features = Features({"input_ids": List(Value("int32")), "labels": List(Value("int32"))})
        cache = self.folder / "encoded"
        shutil.rmtree(cache, ignore_errors=True)
        try:
            # Without a fingerprint, datasets pickles the generator and with it the tokenizer to compute one.
            rows = Dataset.from_generator(examples, features, str(cache), fingerprint=self.folder.name)
        except DatasetGenerationError as error:
            raise error.__cause__ or error from None
        kept, held = ([i for i, out in enumerate(held_out) if out is side] for side in (False, True))
        return (rows.select(kept), rows.select(held)) if held else (rows, None)

    def plan_memory(self, report: RowReport) -> MemoryPlan | None:
        """What the training needs; None on a GPU, where activations are always recomputed."""
        import torch

        if torch.cuda.is_available():
            return None
        longest = self.own.max_length if self.own.packing else report.lengths["max"]
        try:
            plan = plan_memory(self.base, self.settings, longest, rows=min(self.own.batch_size, report.kept))
        except (OSError, ValueError) as error:
            raise _unloadable(self.base, error) from error
        self.log.info("memory: %s", plan)
        return plan

    def make_trainer(self, tokenizer: Any, dataset: Any, callback: Any, checkpointing: bool) -> Any:
        import torch
        from peft import LoraConfig
        from transformers import PrinterCallback
        from trl import SFTConfig, SFTTrainer

        own, gpu = self.own, torch.cuda.is_available()
        half = gpu and self.settings.precision == "bf16"
        args = SFTConfig(
            output_dir=str(self.folder / "checkpoints"),
            seed=self.settings.seed,
            data_seed=self.settings.seed,
            num_train_epochs=own.epochs,
            learning_rate=own.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=own.warmup_steps,
            weight_decay=own.weight_decay,
            max_grad_norm=1.0,
            per_device_train_batch_size=own.batch_size,
            # The Trainer averages the held-out loss over batches: with one row in each, batch_size does not change it.
            per_device_eval_batch_size=1,
            prediction_loss_only=True,
            gradient_accumulation_steps=own.gradient_accumulation,
            # encode_rows has dropped longer rows. Set without packing, max_length makes TRL map over all rows again.
            max_length=own.max_length if own.packing else None,
            packing=own.packing,
            use_cpu=not gpu,
            # TRL turns bf16 on unless told otherwise (trl/trainer/base_config.py).
            bf16=half,
            gradient_checkpointing=checkpointing,
            dataloader_pin_memory=gpu,
            # LoRA's frozen weights fit in bf16. Trained weights need float32, or small updates would be rounded away.
            model_init_kwargs={"dtype": "bfloat16" if half and self.settings.method == "lora" else "float32"},
            eos_token=self.closing_token(tokenizer, dataset),
            logging_steps=1,
            # Left on, the Trainer logs an average in place of a NaN loss, and TrainingCallback could not stop on it.
            logging_nan_inf_filter=False,
            save_strategy="steps",
            save_steps=own.save_steps,
            save_total_limit=2,
            report_to="none",
            disable_tqdm=True,
        )
        if args.n_gpu > 1:
            # Otherwise the Trainer uses nn.DataParallel, which copies the model to every GPU at each step.
            args._n_gpu = 1
        shape = self.settings.lora
        lora = LoraConfig(
            r=shape.r,
            lora_alpha=shape.alpha,
            lora_dropout=shape.dropout,
            target_modules=shape.target_modules,
            task_type="CAUSAL_LM",
        )
        try:
            trainer = SFTTrainer(
                model=self.base,
                args=args,
                train_dataset=dataset,
                processing_class=tokenizer,
                peft_config=lora if self.settings.method == "lora" else None,
                callbacks=[callback],
            )
        except (OSError, ValueError) as error:
            raise _unloadable(self.base, error) from error
        # With disable_tqdm, the Trainer prints every log entry to stdout instead (transformers/trainer.py).
        trainer.remove_callback(PrinterCallback)
        return trainer

    def closing_token(self, tokenizer: Any, dataset: Any) -> str | None:
        """The token that ends the assistant's turn, if the base model does not stop at it yet; else None."""
        from transformers import GenerationConfig

        control = control_tokens(tokenizer)
        closing = next((i for i in reversed(dataset[0]["labels"]) if i in control), None)
        if closing is None:
            raise TrainingError(
                "the student would never stop: the chat template ends the assistant's turn without a control token",
                where=self.base,
                todo="use a chat template that ends each turn with a special token",
            )
        try:
            stops = GenerationConfig.from_pretrained(self.base).eos_token_id
        except OSError:
            stops = None
        known = {tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])}
        return None if closing in known else control[closing]

    def save(self, model: Any, tokenizer: Any) -> tuple[Path | None, Path]:
        """(adapter's folder or None, folder to serve). The weights to serve keep the base model's precision."""
        import torch
        from transformers import AutoConfig

        adapter = None
        if self.settings.method == "lora":
            adapter = self.folder / "adapter"
            with appearing(adapter) as partial:
                model.save_pretrained(partial)
                tokenizer.save_pretrained(partial)
            model = model.merge_and_unload()
        path = self.folder / ("merged" if adapter else "model")
        with appearing(path) as partial:
            model.to(AutoConfig.from_pretrained(self.base).dtype or torch.float32).save_pretrained(partial)
            tokenizer.save_pretrained(partial)
            if (like := Path(self.base) / GGUF).is_file():
                write_gguf(partial, like=like)
        return adapter, path

    def document(
        self,
        trained: TrainedModel,
        report: RowReport,
        draw_loss: DrawLoss | None,
        decontaminations: Sequence[Mapping[str, Any]],
    ) -> None:
        write_whole(self.folder / "history.json", json.dumps(self.history, indent=1))
        if draw_loss is not None:
            draw_loss(self.history, self.folder / "loss.png")
        facts = {
            "rows_file": self.rows.name,
            "runs": self.tally.runs,
            "lengths": report.lengths,
            "decontaminations": decontaminations,
        }
        for folder in (trained.path, trained.adapter):
            if folder is not None:
                write_whole(folder / "README.md", write_card(trained, self.settings, facts))


def held_out_loss(trainer: Any, rows: Any) -> float | None:
    """The mean loss over these rows, None if there are none; the trainer's log stays that of its training steps."""
    if rows is None:
        return None
    history = list(trainer.state.log_history)
    loss = trainer.evaluate(rows)["eval_loss"]
    trainer.state.log_history = history
    return float(loss)


def _base_digest(base: str | Path) -> str:
    """The digest of a folder's files; for a hub model, its commit."""
    if Path(base).is_dir():
        return folder_digest(Path(base))
    from transformers import AutoConfig

    try:
        return str(AutoConfig.from_pretrained(str(base))._commit_hash)
    except (OSError, ValueError) as error:
        raise _unloadable(str(base), error) from error


def _unloadable(base: str, error: Exception) -> TrainingError:
    return TrainingError(
        f"training cannot start from this model: {error}",
        where=base,
        todo="name a folder in transformers' format, or a hub model that this machine can download",
    )


def _peak_memory_mb() -> int:
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated() // 2**20)
    # ru_maxrss is in bytes on macOS and in KiB on Linux (getrusage(2)).
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
