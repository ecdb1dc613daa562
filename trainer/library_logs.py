"""Keeps the training libraries' chatter in a log file and on this machine, and says their failures in muser's words."""

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
    """Raises TrainingError where what training needs is not installed; imports none of it."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(f"training needs {', '.join(missing)}", todo=install_hint("train"))


@contextmanager
def library_logs(log: Path) -> Iterator[logging.Logger]:
    """While it is open, what the libraries log or warn of goes to `log`; yields the logger for muser's own lines."""
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    own = logging.getLogger("muser.trainer.log")
    loggers = [own, *(logging.getLogger(name) for name in LIBRARIES)]
    # transformers hangs a handler of its own on its logger, which writes to the terminal.
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
    """While it is open, transformers and datasets draw no progress bars."""
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
def without_telemetry() -> Iterator[None]:
    """While it is open, TRL and transformers report nothing to Hugging Face, unless the user's environment says so.

    What the environment says was read when huggingface_hub was imported, which may have been long before.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_DISABLE_TELEMETRY
    constants.HF_HUB_DISABLE_TELEMETRY = before or TELEMETRY not in os.environ
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = before


@contextmanager
def translated(where: Path) -> Iterator[None]:
    """Raises TrainingError for files that cannot be written and for memory that ran out; everything else passes."""
    try:
        yield
    except MuserError:
        raise
    except MemoryError as error:
        raise _no_memory(where) from error
    except Exception as error:
        if FULL.search(str(error)) or (isinstance(error, OSError) and error.errno in NO_ROOM):
            raise TrainingError(
                "the disk is full or read-only, so training stopped",
                where=str(where),
                todo="make room and run the same command again: it goes on from the last complete checkpoint",
            ) from error
        if MEMORY.search(str(error)):
            raise _no_memory(where) from error
        if isinstance(error, OSError):
            raise TrainingError(f"training cannot use a file: {error}", where=str(where)) from error
        raise


def _no_memory(where: Path) -> TrainingError:
    return TrainingError(
        "memory ran out while training",
        where=str(where),
        todo="lower the stage's batch_size (and raise gradient_accumulation by as much) or max_length; or method: lora",
    )
