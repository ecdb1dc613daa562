"""Training for real, on a tiny model: its files, how it resumes after a kill, what it refuses, and how it stops."""

import json
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muser.core.errors import InputError, TrainingError
from muser.core.recipe import TrainingSettings
from muser.trainer.result import TrainingProgress, folder_digest
from muser.trainer.rows import Row, RowReport, encode, is_held_out, read_rows
from muser.trainer.sft import train_stage

pytestmark = pytest.mark.train
Make = Callable[..., TrainingSettings]
Write = Callable[..., Path]


def test_full_training_lowers_the_loss_and_leaves_a_model_with_its_history(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[TrainingProgress] = []
    reports: list[RowReport] = []
    drawn: list[tuple[int, Path]] = []
    trained = train_stage(
        settings(),
        "distill",
        base=tiny,
        rows=rows,
        output=tmp_path / "out",
        on_rows=reports.append,
        on_progress=seen.append,
        draw_loss=lambda history, path: drawn.append((len(history), path)),
    )
    assert trained.loss_last < trained.loss_first - 1
    assert (trained.steps, trained.rows, trained.rows_dropped, trained.adapter) == (6, 24, 0, None)
    assert trained.tokens == 2 * reports[0].tokens
    assert [one.step for one in seen] == [1, 2, 3, 4, 5, 6]
    assert (seen[0].total, seen[-1].eta, seen[-1].loss) == (6, 0, trained.loss_last)
    assert seen[0].eta > 0 < seen[0].tokens_per_second
    folder = trained.path.parent
    assert drawn == [(6, folder / "loss.png")]
    assert [entry["step"] for entry in json.loads((folder / "history.json").read_text())] == [1, 2, 3, 4, 5, 6]
    assert (trained.path / "model.safetensors").exists()
    assert sorted(p.name for p in folder.iterdir()) == ["history.json", "lock", "model", "trained.json"]
    assert capfd.readouterr() == ("", "")


def test_lora_leaves_an_adapter_and_the_same_model_merged(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    trained = train_stage(settings("lora"), "distill", base=tiny, rows=rows, output=tmp_path)
    assert trained.adapter is not None
    assert trained.loss_last < trained.loss_first
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(trained.path)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What now?"}], add_generation_prompt=True, return_tensors="pt"
    )
    merged = AutoModelForCausalLM.from_pretrained(trained.path)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), str(trained.adapter))
    assert torch.allclose(merged(**prompt).logits, adapted(**prompt).logits, atol=1e-4)
    assert merged.generate(**prompt, max_new_tokens=4).shape[1] > prompt["input_ids"].shape[1]


def test_the_card_says_where_the_weights_come_from_and_nothing_of_this_machine(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    compared = {"against": {str(tmp_path / "bench.jsonl"): "a1b2"}, "matches": 0, "compared": 72, "allowed": 2}
    trained = train_stage(
        settings("lora", epochs=1, batch_size=24),
        "refine",
        base=tiny,
        rows=rows,
        output=tmp_path,
        decontaminations=[compared],
    )
    assert trained.adapter is not None
    card = (trained.path / "README.md").read_text()
    assert (trained.adapter / "README.md").read_text() == card
    for fact in (
        "Not medical advice",
        "or the user brought them",
        "stage `refine`",
        "`demo` (24)",
        "24 of 24 (0 dropped, 0 held out)",
        "`bench.jsonl` (SHA-256 `a1b2`): 0 matches in 72 texts, 2 allowed after review",
        '"seed": 0',
        "trl ",
    ):
        assert fact in card
    for value in (trained.rows_digest, trained.base_digest, trained.digest, f"{trained.loss_last:.4f}"):
        assert value in card
    assert str(tmp_path) not in card
    assert "{" not in card.partition("```json")[0]


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    whole = train_stage(settings(), "distill", base=tiny, rows=rows, output=tmp_path / "whole")
    script = """if True:
        import os, signal, sys
        from pathlib import Path
        from muser.core.recipe import TrainingSettings
        from muser.trainer.sft import train_stage
        settings, base, rows, output = sys.argv[1:]
        def kill_at_five(progress):
            if progress.step == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        train_stage(TrainingSettings.model_validate_json(settings), "distill", base=base, rows=Path(rows),
            output=Path(output), on_progress=kill_at_five)"""
    arguments = [settings().model_dump_json(), str(tiny), str(rows), str(tmp_path / "cut")]
    killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    [folder] = (tmp_path / "cut").glob("distill-*")
    assert sorted(p.name for p in folder.glob("checkpoints/checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    (folder / "checkpoints/checkpoint-4/trainer_state.json").write_text('{"cut')

    steps: list[int] = []
    resumed = train_stage(
        settings(),
        "distill",
        base=tiny,
        rows=rows,
        output=tmp_path / "cut",
        on_progress=lambda progress: steps.append(progress.step),
    )
    assert steps == [3, 4, 5, 6]
    assert (resumed.digest, resumed.loss_last) == (whole.digest, whole.loss_last)
    assert (resumed.steps, resumed.tokens) == (whole.steps, whole.tokens)
    histories = [json.loads((one.path.parent / "history.json").read_text()) for one in (whole, resumed)]
    assert [entry["loss"] for entry in histories[0]] == [entry["loss"] for entry in histories[1]]


def test_a_training_cut_off_after_its_last_step_only_saves_what_is_learned(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    steps: list[int] = []
    with pytest.raises(ZeroDivisionError):
        train_stage(settings(), "distill", base=tiny, rows=rows, output=tmp_path, draw_loss=fail)
    trained = train_stage(
        settings(), "distill", base=tiny, rows=rows, output=tmp_path, on_progress=lambda one: steps.append(one.step)
    )
    assert steps == []
    whole = train_stage(settings(), "distill", base=tiny, rows=rows, output=tmp_path / "whole")
    assert (trained.digest, trained.loss_last, trained.tokens) == (whole.digest, whole.loss_last, whole.tokens)


def test_a_finished_training_is_not_repeated_and_a_changed_input_starts_beside_it(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path, write: Write, examples: list[dict[str, Any]]
) -> None:
    quick = settings(epochs=1, batch_size=24)
    first = train_stage(quick, "distill", base=tiny, rows=rows, output=tmp_path)

    def never(_: TrainingProgress) -> None:
        raise AssertionError

    assert train_stage(quick, "distill", base=tiny, rows=rows, output=tmp_path, on_progress=never) == first
    fewer = write(*examples[:8], name="fewer.jsonl")
    second = train_stage(quick, "distill", base=tiny, rows=fewer, output=tmp_path)
    assert second.path.parent != first.path.parent
    assert folder_digest(first.path, weights_only=True) == first.digest != second.digest


@pytest.mark.parametrize(
    ("save_steps", "fault"), [(1, "the weights of .* became NaN or infinite"), (5, "(loss|gradient) became nan")]
)
def test_numbers_that_run_away_stop_training_and_keep_the_last_good_checkpoint(
    save_steps: int, fault: str, settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    diverging = settings(learning_rate=1e30, save_steps=save_steps)
    with pytest.raises(TrainingError, match=f"training stopped at step 2: .*{fault}") as caught:
        train_stage(diverging, "distill", base=tiny, rows=rows, output=tmp_path)
    assert "learning_rate" in caught.value.todo
    kept = [p.name for p in tmp_path.glob("distill-*/checkpoints/checkpoint-*")]
    assert kept == (["checkpoint-1"] if save_steps == 1 else [])
    assert not list(tmp_path.glob("distill-*/model"))


def test_weights_that_are_no_numbers_are_never_saved(settings: Make, tiny: Path, rows: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingError, match="at step 1"):
        train_stage(settings(save_steps=1), "distill", base=broken, rows=rows, output=tmp_path / "out")
    assert not list(tmp_path.glob("out/distill-*/checkpoints/checkpoint-*"))


def test_a_disk_that_takes_no_more_is_named_and_training_goes_on_later(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
        with pytest.raises(TrainingError, match="disk is full"):
            train_stage(settings(), "distill", base=tiny, rows=rows, output=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert train_stage(settings(), "distill", base=tiny, rows=rows, output=tmp_path).steps == 6


def test_rows_that_cannot_be_trained_on_are_refused_before_any_model_is_loaded(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path, write: Write
) -> None:
    with pytest.raises(InputError, match="has no rows"):
        train_stage(settings(), "distill", base=tiny, rows=write(name="none"), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="not JSON") as caught:
        train_stage(settings(), "distill", base=tiny, rows=write(rows.read_text() + "x", name="bad"), output=tmp_path)
    assert caught.value.where.endswith("bad:25")
    with pytest.raises(InputError, match="all 24 were dropped"):
        train_stage(settings(max_length=20), "distill", base=tiny, rows=rows, output=tmp_path)


def test_longer_rows_are_reported_before_training_and_left_out(
    settings: Make, tiny: Path, tmp_path: Path, write: Write, examples: list[dict[str, Any]]
) -> None:
    longer = examples[0] | {"completion": [{"role": "assistant", "content": "word " * 400}]}
    reports: list[RowReport] = []
    trained = train_stage(
        settings(epochs=1, batch_size=24),
        "distill",
        base=tiny,
        rows=write(longer, *examples),
        output=tmp_path,
        on_rows=reports.append,
    )
    assert (trained.rows, trained.rows_dropped) == (24, 1)
    assert reports[0].dropped[0].sample == "demo/s0001"
    assert "1 dropped" in (trained.path / "README.md").read_text()
    assert "line 1 (demo/s0001) dropped: longer than 256 tokens" in (tmp_path / "training.log").read_text()


def test_packed_rows_train_on_the_same_tokens(settings: Make, tiny: Path, rows: Path, tmp_path: Path) -> None:
    reports: list[RowReport] = []
    packed = settings(packing=True, epochs=1, batch_size=2)
    trained = train_stage(packed, "distill", base=tiny, rows=rows, output=tmp_path, on_rows=reports.append)
    assert trained.tokens == reports[0].tokens


def test_a_base_that_does_not_stop_at_its_turns_end_is_taught_to(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    base = shutil.copytree(tiny, tmp_path / "base")
    wrong = {"tokenizer_config.json": {"eos_token": "<|endoftext|>"}, "generation_config.json": {"eos_token_id": 0}}
    for name, values in wrong.items():
        (base / name).write_text(json.dumps(json.loads((base / name).read_text()) | values))
    trained = train_stage(settings(epochs=1, batch_size=24), "distill", base=base, rows=rows, output=tmp_path)
    assert 2 in json.loads((trained.path / "generation_config.json").read_text())["eos_token_id"]
    assert json.loads((trained.path / "tokenizer_config.json").read_text())["eos_token"] == "<|im_end|>"


def test_what_is_no_model_and_a_model_without_a_template_are_refused(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TrainingError, match="cannot start from this model"):
        train_stage(settings(), "distill", base=empty, rows=rows, output=tmp_path / "out")
    mute = shutil.copytree(tiny, tmp_path / "mute")
    (mute / "chat_template.jinja").unlink()
    with pytest.raises(TrainingError, match="no chat template"):
        train_stage(settings(), "distill", base=mute, rows=rows, output=tmp_path / "out")
    with pytest.raises(TrainingError, match="stage base"):
        train_stage(settings(), "base", base=tiny, rows=rows, output=tmp_path / "out")


def test_an_output_that_cannot_be_written_is_named(settings: Make, tiny: Path, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot use a file"):
        train_stage(settings(), "distill", base=tiny, rows=rows, output=tmp_path / "file" / "out")


def test_held_out_rows_are_measured_before_and_after_and_never_trained_on(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path, write: Write, examples: list[dict[str, Any]]
) -> None:
    reports: list[RowReport] = []
    holding = settings(held_out=0.3)
    trained = train_stage(holding, "distill", base=tiny, rows=rows, output=tmp_path, on_rows=reports.append)
    kept = [row for row in examples if not is_held_out(Row.model_validate(row), 0.3)]
    assert 0 < trained.held_out == 24 - len(kept) == reports[0].held_out
    assert (trained.rows, reports[0].kept) == (len(kept), len(kept))
    assert trained.held_out_loss_first is not None
    assert trained.held_out_loss_last is not None
    assert trained.held_out_loss_last < trained.held_out_loss_first - 1
    assert (
        f"{trained.held_out_loss_first:.4f}, {trained.held_out_loss_last:.4f}"
        in (trained.path / "README.md").read_text()
    )

    alone = train_stage(
        settings(), "distill", base=tiny, rows=write(*kept, name="kept.jsonl"), output=tmp_path / "alone"
    )
    assert (alone.loss_first, alone.tokens) == (trained.loss_first, trained.tokens)
    assert alone.held_out_loss_first is None


def test_the_held_out_loss_is_the_mean_over_rows_as_transformers_computes_it(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained = train_stage(settings(held_out=0.3), "distill", base=tiny, rows=rows, output=tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    held = [encode(row, tokenizer) for row in read_rows(rows) if is_held_out(row, 0.3)]
    for folder, loss in ((tiny, trained.held_out_loss_first), (trained.path, trained.held_out_loss_last)):
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        losses = []
        for row in held:
            ids = torch.tensor([row.ids])
            labels = ids.clone()
            labels[0, : row.start] = -100
            losses.append(model(input_ids=ids, labels=labels).loss.item())
        assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_a_resumed_training_keeps_its_held_out_rows_and_their_first_loss(
    settings: Make, tiny: Path, rows: Path, tmp_path: Path
) -> None:
    holding = settings("lora", held_out=0.3)
    whole = train_stage(holding, "distill", base=tiny, rows=rows, output=tmp_path / "whole")

    def stop_at_three(progress: TrainingProgress) -> None:
        if progress.step == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train_stage(holding, "distill", base=tiny, rows=rows, output=tmp_path / "cut", on_progress=stop_at_three)
    resumed = train_stage(holding, "distill", base=tiny, rows=rows, output=tmp_path / "cut")
    assert (resumed.held_out_loss_first, resumed.held_out_loss_last) == (
        whole.held_out_loss_first,
        whole.held_out_loss_last,
    )
    assert (resumed.digest, resumed.loss_first, resumed.loss_last) == (whole.digest, whole.loss_first, whole.loss_last)


def test_losses_are_means_over_a_tenth_of_the_steps(settings: Make, tiny: Path, rows: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    slow = settings(batch_size=2, epochs=2)
    trained = train_stage(slow, "distill", base=tiny, rows=rows, output=tmp_path, on_progress=seen.append)
    losses = [entry["loss"] for entry in json.loads((trained.path.parent / "history.json").read_text())]
    assert len(losses) == 24
    assert trained.loss_first == pytest.approx((losses[0] + losses[1]) / 2)
    assert trained.loss_last == seen[-1].loss == pytest.approx((losses[-2] + losses[-1]) / 2)
