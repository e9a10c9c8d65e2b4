"""llama-server's options as far as they bear on memory, from its command line and environment (common/arg.cpp)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

from llama_swap.footprint.facts import NotUnderstoodError
from llama_swap.footprint.ggml_types import CACHE_TYPES

DEFAULT_UBATCH = 512
DEFAULT_BATCH = 2048
DEFAULT_PARALLEL = 4
DEFAULT_FIT_TARGET_MIB = 1024
FIT_TARGET_NAMES = ("-fitt", "--fit-target", "LLAMA_ARG_FIT_TARGET")
DEFAULT_FIT_CTX = 4096
EVERY_LAYER = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """The options given; None is llama-server's own default.

    Attributes:
        ctx_size: 0 is the length the model was trained with, as is None, which ``--fit`` may also shorten.
        parallel: requests decoded at once; None lets the server take four that share one cache.
        gpu_layers: None leaves it to ``--fit``, which means all of them if they fit.
        overrides: pattern of tensor names -> kind of buffer, in their order (``--override-tensor``).
        fit_ctx: ``--fit`` shortens the context to this and no further.
        unmapped: the file is read into memory instead of mapped.
    """

    model: str = ""
    model_url: str = ""
    hf_repo: str = ""
    hf_file: str = ""
    mmproj: str = ""
    mmproj_auto: bool = True
    mmproj_offload: bool = True
    draft_model: str = ""
    draft_hf_repo: str = ""
    draft_gpu_layers: int | None = None
    draft_type_k: str = "f16"
    draft_type_v: str = "f16"
    spec_type: str = ""
    lora: tuple[str, ...] = ()
    ctx_size: int | None = None
    ctx_per_slot: int = 0
    parallel: int | None = None
    kv_unified: bool | None = None
    batch: int = DEFAULT_BATCH
    ubatch: int = DEFAULT_UBATCH
    flash_attention: str = "auto"
    type_k: str = "f16"
    type_v: str = "f16"
    kv_offload: bool = True
    swa_full: bool = False
    gpu_layers: int | None = None
    cpu_moe_layers: int = 0
    cpu_ffn_layers: int = 0
    overrides: tuple[tuple[str, str], ...] = ()
    device: str = ""
    split_mode: str = "layer"
    rpc: str = ""
    unmapped: bool = False
    fit: bool = True
    fit_target_mib: int = DEFAULT_FIT_TARGET_MIB
    fit_ctx: int = DEFAULT_FIT_CTX

    @property
    def sequences(self) -> int:
        """Requests decoded at once."""
        return self.parallel or DEFAULT_PARALLEL

    @property
    def is_unified(self) -> bool:
        """Whether the sequences share one cache."""
        return self.parallel is None if self.kv_unified is None else self.kv_unified

    @property
    def is_adaptable(self) -> bool:
        """Whether llama-server makes itself smaller where memory is short, so that what it takes depends on that."""
        return self.fit and self.split_mode != "tensor" and (self.ctx_size is None or self.gpu_layers is None)

    @property
    def moves_layers(self) -> bool:
        """Whether ``--fit`` may also leave layers on the host; where tensors are placed by hand it does not."""
        by_hand = self.overrides or self.cpu_moe_layers or self.cpu_ffn_layers or self.split_mode == "row"
        return self.fit and self.gpu_layers is None and not by_hand

    @property
    def predicts_further(self) -> bool:
        """Whether the layers of a model that predict further tokens are loaded (``--spec-type draft-mtp``)."""
        return "mtp" in self.spec_type

    @property
    def uses_no_device(self) -> bool:
        """Whether nothing is put on a device."""
        return self.gpu_layers == 0 or self.device == "none"


_VALUES: Mapping[str, tuple[str, ...]] = {
    "model": ("-m", "--model", "LLAMA_ARG_MODEL"),
    "model_url": ("-mu", "--model-url", "LLAMA_ARG_MODEL_URL"),
    "hf_repo": ("-hf", "-hfr", "--hf-repo", "LLAMA_ARG_HF_REPO"),
    "hf_file": ("-hff", "--hf-file", "LLAMA_ARG_HF_FILE"),
    "mmproj": ("-mm", "--mmproj", "LLAMA_ARG_MMPROJ"),
    "draft_model": ("-md", "--model-draft", "--spec-draft-model", "LLAMA_ARG_SPEC_DRAFT_MODEL"),
    "draft_hf_repo": ("-hfd", "-hfrd", "--hf-repo-draft", "--spec-draft-hf", "LLAMA_ARG_SPEC_DRAFT_HF_REPO"),
    "draft_gpu_layers": (
        *("-ngld", "--gpu-layers-draft", "--n-gpu-layers-draft", "--spec-draft-ngl"),
        "LLAMA_ARG_N_GPU_LAYERS_DRAFT",
    ),
    "draft_type_k": ("-ctkd", "--cache-type-k-draft", "--spec-draft-type-k", "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_K"),
    "draft_type_v": ("-ctvd", "--cache-type-v-draft", "--spec-draft-type-v", "LLAMA_ARG_SPEC_DRAFT_CACHE_TYPE_V"),
    "spec_type": ("--spec-type", "LLAMA_ARG_SPEC_TYPE"),
    "lora": ("--lora",),
    "ctx_size": ("-c", "--ctx-size", "LLAMA_ARG_CTX_SIZE"),
    "ctx_per_slot": ("--kv-unified-per-slot", "LLAMA_ARG_KV_UNIFIED_PER_SLOT"),
    "parallel": ("-np", "--parallel", "LLAMA_ARG_N_PARALLEL"),
    "batch": ("-b", "--batch-size", "LLAMA_ARG_BATCH"),
    "ubatch": ("-ub", "--ubatch-size", "LLAMA_ARG_UBATCH"),
    "type_k": ("-ctk", "--cache-type-k", "LLAMA_ARG_CACHE_TYPE_K"),
    "type_v": ("-ctv", "--cache-type-v", "LLAMA_ARG_CACHE_TYPE_V"),
    "gpu_layers": ("-ngl", "--gpu-layers", "--n-gpu-layers", "LLAMA_ARG_N_GPU_LAYERS"),
    "cpu_moe_layers": ("-ncmoe", "--n-cpu-moe", "LLAMA_ARG_N_CPU_MOE"),
    "cpu_ffn_layers": ("-ncffn", "--n-cpu-ffn", "LLAMA_ARG_N_CPU_FFN"),
    "overrides": ("-ot", "--override-tensor", "LLAMA_ARG_OVERRIDE_TENSOR"),
    "device": ("-dev", "--device", "LLAMA_ARG_DEVICE"),
    "split_mode": ("-sm", "--split-mode", "LLAMA_ARG_SPLIT_MODE"),
    "rpc": ("--rpc", "LLAMA_ARG_RPC"),
    "unmapped": ("-lm", "--load-mode", "LLAMA_ARG_LOAD_MODE"),
    "fit": ("-fit", "--fit", "LLAMA_ARG_FIT"),
    "fit_target_mib": FIT_TARGET_NAMES,
    "fit_ctx": ("-fitc", "--fit-ctx", "LLAMA_ARG_FIT_CTX"),
}
_SWITCHES: Mapping[str, tuple[str, object]] = {
    "--no-mmproj": ("mmproj_auto", False),
    "--no-mmproj-auto": ("mmproj_auto", False),
    "--no-mmproj-offload": ("mmproj_offload", False),
    "-kvu": ("kv_unified", True),
    "--kv-unified": ("kv_unified", True),
    "-no-kvu": ("kv_unified", False),
    "--no-kv-unified": ("kv_unified", False),
    "-nkvo": ("kv_offload", False),
    "--no-kv-offload": ("kv_offload", False),
    "--swa-full": ("swa_full", True),
    "-cmoe": ("cpu_moe_layers", EVERY_LAYER),
    "--cpu-moe": ("cpu_moe_layers", EVERY_LAYER),
    "--no-mmap": ("unmapped", True),
    "--mmap": ("unmapped", False),
}
_SWITCH_VARIABLES: Mapping[str, tuple[str, bool]] = {
    "LLAMA_ARG_KV_UNIFIED": ("kv_unified", True),
    "LLAMA_ARG_KV_OFFLOAD": ("kv_offload", True),
    "LLAMA_ARG_NO_KV_OFFLOAD": ("kv_offload", False),
    "LLAMA_ARG_SWA_FULL": ("swa_full", True),
    "LLAMA_ARG_NO_MMAP": ("unmapped", True),
    "LLAMA_ARG_MMAP": ("unmapped", False),
    "LLAMA_ARG_MMPROJ_AUTO": ("mmproj_auto", True),
    "LLAMA_ARG_MMPROJ_OFFLOAD": ("mmproj_offload", True),
}
_FLASH = ("-fa", "--flash-attn")
_FIELD_OF: Mapping[str, str] = {name: field for field, names in _VALUES.items() for name in names}
_NUMBERS = {
    *("ctx_size", "ctx_per_slot", "batch", "ubatch", "cpu_moe_layers", "cpu_ffn_layers", "gpu_layers", "parallel"),
    *("draft_gpu_layers", "fit_target_mib", "fit_ctx"),
}
_TRUE = {"1", "on", "true", "enabled", "yes"}


def read_options(arguments: tuple[str, ...], env: Mapping[str, str]) -> Options:
    """Read llama-server's options; those that do not bear on memory are passed over.

    Raises:
        NotUnderstoodError: if the value of one that does cannot be read.
    """
    found: dict[str, object] = {}
    for name, value in _from_environment(env):
        _set(found, name, value)
    for name, value in _from_arguments(arguments):
        _set(found, name, value)
    return Options(**found)  # type: ignore[arg-type]  # the names and types are those of the table above


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for name, value in env.items():
        if name in _FIELD_OF:
            yield _FIELD_OF[name], value
        elif name == "LLAMA_ARG_FLASH_ATTN":
            yield "flash_attention", value
        elif name == "LLAMA_ARG_CPU_MOE" and value in _TRUE:
            yield "cpu_moe_layers", EVERY_LAYER
        elif name in _SWITCH_VARIABLES:
            field, meaning = _SWITCH_VARIABLES[name]
            yield field, meaning is (value.lower() in _TRUE)


def _from_arguments(arguments: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    words = list(arguments)
    while words:
        name = words.pop(0)
        if name.startswith("--"):
            name = name.replace("_", "-")
        if name in _FLASH:
            # Before August 2025 it was a switch.
            has_value = bool(words) and not words[0].startswith("-")
            yield "flash_attention", words.pop(0) if has_value else "on"
        elif name in _SWITCHES:
            yield _SWITCHES[name]
        elif name in _FIELD_OF and words:
            yield _FIELD_OF[name], words.pop(0)


def _set(found: dict[str, object], field: str, value: object) -> None:
    """Take one option over, in the type of its field."""
    if field in _NUMBERS and isinstance(value, str):
        value = _number(field, value)
    elif field in {"fit", "unmapped"} and isinstance(value, str):
        value = value in _TRUE if field == "fit" else value in {"none", "dio"}
    elif field == "lora":
        value = (*_texts(found.get(field)), *str(value).split(","))
    elif field == "overrides":
        value = (*_pairs(found.get(field)), *_parse_overrides(str(value)))
    elif field in {"type_k", "type_v", "draft_type_k", "draft_type_v"} and value not in CACHE_TYPES:
        raise NotUnderstoodError(f"the cache type {value!r} is not known")
    found[field] = value


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, tuple) else ()


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    return tuple(value) if isinstance(value, tuple) else ()


def _parse_overrides(text: str) -> Iterator[tuple[str, str]]:
    for item in text.split(","):
        pattern, equals, buffer = item.partition("=")
        if not equals:
            _refuse("overrides", text)
        yield pattern, buffer


def _number(field: str, text: str) -> int | None:
    if field in {"gpu_layers", "draft_gpu_layers"} and text in {"auto", "all", "-1", "-2"}:
        return EVERY_LAYER if text in {"all", "-2"} else None
    if field == "parallel" and text == "-1":
        return None
    if field == "fit_target_mib":
        text = text.replace("/", ",").split(",")[0]
    try:
        number = int(text)
    except ValueError:
        _refuse(field, text)
    if number < 0:
        _refuse(field, text)
    return number


def _refuse(field: str, text: str) -> NoReturn:
    raise NotUnderstoodError(f"{_VALUES[field][1]} {text!r} is not understood")
