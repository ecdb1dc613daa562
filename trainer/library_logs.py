"""Redirects the training libraries' logs to a file, turns off their telemetry, and translates their errors."""

import errno
import importlib.util
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import MuserError, TrainingError
from ..core.installation import install_hint

LIBRARIES = ("transformers", "trl", "peft", "accelerate", "datasets", "torch", "huggingface_hub", "py.warnings")
NEEDED = ("torch", "transformers", "trl", "peft", "datasets")
FULL = re.compile(r"no space left|quota exceeded|file too large|\w*writer? failed", re.IGNORECASE)
TELEMETRY = "HF_HUB_DISABLE_TELEMETRY"
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)


def require_libraries() -> None:
    """Raises TrainingError if a library that training needs is not installed, without importing any."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(f"training needs {', '.join(missing)}", todo=install_hint("train"))


@contextmanager
def library_logs(log: Path) -> Iterator[logging.Logger]:
    """Sends the libraries' logs and warnings to `log` inside the block; yields the logger for muser's lines."""
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    own = logging.getLogger("muser.trainer.log")
    loggers = [own, *(logging.getLogger(name) for name in LIBRARIES)]
    # transformers attaches a stderr handler to its root logger on import (transformers/utils/logging.py).
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    with warnings.catch_warnings(), without_bars(), without_telemetry():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        own.setLevel(logging.INFO)
        try:
            yield own
        finally:
            for logger, handlers, level, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
                logger.setLevel(level)
            logging.captureWarnings(False)
            handler.close()


@contextmanager
def without_bars() -> Iterator[None]:
    """Disables the progress bars of transformers and datasets inside the block."""
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        datasets.enable_progress_bars()
        transformers_logging.enable_progress_bar()


@contextmanager
def quiet() -> Iterator[None]:
    """Shows only errors of transformers inside the block, and no bars."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with without_bars():
            yield
    finally:
        transformers_logging.set_verbosity(level)


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Disables the telemetry of TRL and transformers inside the block, unless the user's environment configures it."""
    from huggingface_hub import constants

    # huggingface_hub reads the variable once, on import, so setting os.environ here would have no effect.
    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = before or TELEMETRY not in os.environ
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


@contextmanager
def translated(where: Path) -> Iterator[None]:
    """Turns a full disk, a file error or running out of memory into TrainingError; other exceptions pass unchanged."""
    try:
        yield
    except MuserError:
        raise
    except MemoryError as error:
        raise _no_memory(where) from error
    except Exception as error:
        # The Rust and C++ writers (safetensors, Arrow) raise their own types, and torch raises RuntimeError for CUDA
        # out of memory: only the text tells these apart.
        if FULL.search(str(error)) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            raise TrainingError(
                "training stopped: the disk is full or read-only",
                where=str(where),
                todo="free disk space and rerun the same command: it resumes from the last complete checkpoint",
            ) from error
        if MEMORY.search(str(error)):
            raise _no_memory(where) from error
        if isinstance(error, OSError):
            raise TrainingError(f"training cannot use a file: {error}", where=str(where)) from error
        raise


def _no_memory(where: Path) -> TrainingError:
    return TrainingError(
        "training ran out of memory",
        where=str(where),
        todo="lower the stage's batch_size (and raise gradient_accumulation by the same factor), lower max_length, "
        "or set method: lora",
    )
