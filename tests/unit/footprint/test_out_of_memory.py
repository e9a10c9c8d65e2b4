"""Lines that say that memory ran out, and lines that do not."""

import time

import pytest

from llama_swap.footprint.out_of_memory import MAX_LINE_BYTES, says_out_of_memory

SAYS_SO = [
    # ggml-cuda, also as HIP
    b"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1816.81 MiB on device 0: cudaMalloc failed: out of memory",
    b"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1.00 MiB on device 1: hipMalloc failed: out of memory",
    b"0.01.123.456 E CUDA error: out of memory",
    b"/build/ggml/src/ggml-cuda/ggml-cuda.cu:88: ROCm error: out of memory",
    b"CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
    b"cuMemCreate failed: CUDA_ERROR_OUT_OF_MEMORY",
    # Vulkan
    b"ggml_vulkan: Device memory allocation of size 1073741824 failed.",
    b"ggml_vulkan: vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
    b"vk::Queue::submit: VK_ERROR_OUT_OF_DEVICE_MEMORY",
    b"ggml_vulkan: Requested buffer size exceeds device memory allocation limit: ErrorOutOfDeviceMemory",
    # Metal, SYCL
    b"ggml_metal_buffer_init: error: failed to allocate buffer, size =  4096.00 MiB",
    b"ggml_backend_metal_buffer_type_alloc_buffer: failed to allocate Metal buffer of 123 bytes (out of memory)",
    b"Native API failed. Native API returns: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    # ggml and llama.cpp above the backends
    b"alloc_tensor_range: failed to allocate CUDA0 buffer of size 19046863872",
    b"ggml_backend_alloc_ctx_tensors_from_buft: alloc_tensor_range: failed to allocate CPU buffer of size 1",
    b"ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size 1140850688",
    b"ggml_gallocr_reserve_n_impl: failed to allocate Vulkan0 buffer of size 1",
    b"llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers",
    b"graph_reserve: failed to allocate compute buffers",
    b"llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
    b"llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    b"ggml_aligned_malloc: insufficient memory (attempted to allocate 4096.00 MB)",
    b"terminate called after throwing an instance of 'std::bad_alloc'",
    b"  what():  std::bad_alloc",
    # PyTorch, vLLM
    b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23 GiB",
    b"torch.cuda.OutOfMemoryError: HIP out of memory. Tried to allocate 20.00 MiB",
    b"(EngineCore_0 pid=1) ERROR 11-22 [core.py:1] ValueError: No available memory for the cache blocks. Try",
    b"ValueError: Free memory on device cuda:0 (7.1/23.6 GiB) on startup is less than desired GPU memory utilization",
    b"ValueError: Free memory on device (6.9/8.0 GiB) on startup is less than desired GPU memory utilization (0.9,",
    b"RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. Current value: 0.8",
    b"llama_model_load: error loading model: mmap failed: Cannot allocate memory",
    b"ValueError: To serve at least one request with the models's max seq len (131072), (16.00 GiB KV cache is",
    b"MemoryError",
]
SAYS_NOTHING = [
    b"",
    b"load_tensors:   CUDA0 model buffer size =  4685.30 MiB",
    b"INFO: the hotel will make rOOM for you",
    b"no rOOM left, oom!",
    b"OOM",
    b"out of memory",
    b'{"content": "CUDA out of memory is an error that"}',
    b"ggml_cuda_host_malloc: failed to allocate 512.00 MiB of pinned memory: out of memory",
    b"WARNING: failed to allocate 64.00 MB of pinned memory: vk::Device::allocateMemory: ErrorOutOfHostMemory",
    b"load_all_data: failed to allocate host buffer for async uploads for device CUDA0",
    b"srv  load: failed to allocate memory for prompt cache state: std::bad_alloc",
    b"slot update_slots: id 0 | task 3 | kv cache rm [0, end)",
    b"prompt: 'why does cudaMalloc return an error about memory?'",
    b"memory breakdown [MiB] | total free self model context compute unaccounted",
    b"llama_params_fit_impl: cannot meet free memory target of 1024 MiB, need to reduce device memory by 42444 MiB",
]


@pytest.mark.parametrize("line", SAYS_SO)
def test_a_line_says_so(line):
    """As the programs themselves write it."""
    assert says_out_of_memory(line)


@pytest.mark.parametrize("line", SAYS_NOTHING)
def test_r20_a_line_says_nothing_of_it(line):
    """R20: neither a word within another, nor a warning that is survived, nor somebody's text about the matter."""
    assert not says_out_of_memory(line)


def test_a_text_of_any_length_costs_next_to_nothing():
    """Requests echoed in a debug log are long; no pattern runs away on one."""
    evil = (b"CUDA error " + b"memory alloc " * 100_000)[:MAX_LINE_BYTES]
    before = time.process_time()
    for _ in range(1000):
        says_out_of_memory(evil)
        says_out_of_memory(evil * 50)
    assert time.process_time() - before < 20
    assert not says_out_of_memory(b"x" * MAX_LINE_BYTES + b" cudaMalloc failed: out of memory")
