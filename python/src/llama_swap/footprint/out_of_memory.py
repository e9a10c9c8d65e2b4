"""Whether a line of a model's output says that memory ran out.

The words are those of the programs' own sources: ggml and its backends for CUDA, HIP, Vulkan, Metal and SYCL, llama.cpp
above them, PyTorch, vLLM and SGLang. What a server echoes of prompts and answers must not count, so every pattern is a
whole phrase of such a message in its place. A line alone proves little: llama.cpp goes on without pinned memory or with
a smaller batch. It matters when the process then ends.
"""

import re

MAX_LINE_BYTES = 4096
"""Messages of this kind are short; what is longer is somebody's text."""

_HINT = re.compile(rb"memory|Memory|MEMORY|alloc|ALLOC|max seq len")
_HARMLESS = re.compile(rb"pinned memory|host buffer for async|skipping reorder|prompt cache|falling back")
_SAYS_SO = re.compile(
    rb"|".join(
        (
            rb"cudaMalloc(Async|Managed)? failed: out of memory",
            rb"hipMalloc(Async|Managed)? failed: out of memory",
            rb"(CUDA|ROCm|HIP|MUSA) error:? out of memory",
            rb"\b(CUDA|cuda|HIP|hip)Error(OutOf|Out_Of_)?MemoryAllocation\b|\b(cuda|hip)ErrorOutOfMemory\b",
            rb"\bCU(DA|BLAS)_(ERROR_OUT_OF_MEMORY|STATUS_ALLOC_FAILED)\b",
            rb"\bErrorOut(OfDevice|OfHost|OfPool)Memory\b|\bVK_ERROR_OUT_OF_(DEVICE|HOST|POOL)_MEMORY\b",
            rb"ggml_vulkan: Device memory allocation of size \d+ failed",
            rb"Requested buffer size exceeds device (memory allocation|buffer size) limit",
            rb"failed to allocate Metal buffer of \d+ bytes|kIOGPUCommandBufferCallbackErrorOutOfMemory",
            rb"ggml_metal\w*: error: failed to allocate buffer, size =",
            rb"UR_RESULT_ERROR_OUT_OF_(DEVICE|HOST|RESOURCES)(_MEMORY)?\b",
            rb"ggml_gallocr_reserve_n\w*: failed to allocate \S+ buffer of size \d+",
            rb"alloc_tensor_range: failed to allocate \S+ buffer of size \d+",
            rb"failed to allocate compute (pp |tg )?buffers",
            rb"failed to allocate buffer for (kv|rs) cache",
            rb"unable to allocate \S+ buffer",
            rb"ggml_aligned_malloc: insufficient memory",
            rb"GGML status: error \(failed to allocate memory\)",
            rb"\btorch\.(cuda\.|)OutOfMemoryError: |\btorch\.AcceleratorError: CUDA error: out of memory",
            rb"\b(CUDA|HIP|XPU) out of memory\. Tried to allocate ",
            rb"No available memory for the cache blocks",
            rb"ValueError: Free memory on device (\S+ )?\(.*\) on startup is less than desired",
            rb"Error: Not enough memory(\. Please try to increase --mem-fraction-static| to allocate KV cache\.)",
            rb"error loading model: mmap failed: Cannot allocate memory",
            rb"The model's max seq len \(\d+\) is larger than the maximum number of tokens that can be stored",
            rb"To serve at least one request with the models?'s max seq len \(\d+\)",
            rb"terminate called after throwing an instance of 'std::bad_alloc'",
            rb"what\(\):\s+std::bad_alloc|^MemoryError$",
        )
    )
)


def says_out_of_memory(line: bytes) -> bool:
    """Whether a line says so; cheap for the lines that do not."""
    if len(line) > MAX_LINE_BYTES or not _HINT.search(line):
        return False
    return _SAYS_SO.search(line) is not None and not _HARMLESS.search(line)
