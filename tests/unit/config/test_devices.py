"""The devices that a command names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_swap.config.argv import split_command
from llama_swap.config.devices import EVERY_DEVICE, devices_of

ANY = None


def found(command, **env):
    """What a command as people write it names, in this environment."""
    return devices_of(split_command(command), env)


@pytest.mark.parametrize(
    ("value", "devices"),
    [
        ("0", ("0",)),
        ("1,0", ("1", "0")),
        ("GPU-8932f937-d72c", ("GPU-8932f937-d72c",)),
        ("MIG-GPU-8932f937/1/2", ("MIG-GPU-8932f937/1/2",)),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("1,-1,0", ("1",)),
        ("0,0", ("0",)),
        (" 0, 1", ("0", "1")),
    ],
)
@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "env CUDA_VISIBLE_DEVICES={} llama-server",
        "bash -c 'CUDA_VISIBLE_DEVICES=\"{}\" exec llama-server -ngl 99'",
    ],
)
def test_visible_devices(form, value, devices):
    """The variable names them, in the environment or in the command; the list ends at what is no device."""
    if form == "{}":
        assert found("llama-server", CUDA_VISIBLE_DEVICES=value) == devices
    elif " " not in value or "bash" in form:
        assert found(form.format(value), CUDA_VISIBLE_DEVICES="7") == devices


@pytest.mark.parametrize(
    ("command", "devices"),
    [
        ("llama-server -m a.gguf", ANY),
        ("llama-server --device none", ()),
        ("llama-server -dev CUDA1", ("1",)),
        ("llama-server --device=CUDA2,CUDA0", ("2", "0")),
        ("llama-server --device CUDA0 -dev CUDA1", ("1",)),
        ("llama-server --device Vulkan0", EVERY_DEVICE),
        ("llama-server -dev CUDA0,RPC0", EVERY_DEVICE),
        ("llama-server -ngl 0", ()),
        ("llama-server --gpu-layers=0", ()),
        ("llama-server -ngl 10", ANY),
        ("llama-server -ngl auto", ANY),
        ("llama-server -sm none", ANY),
        ("llama-server -sm none -mg 1", ("1",)),
        ("llama-server --split-mode none --main-gpu 0", ("0",)),
        ("llama-server -mg 0", ANY),
        ("llama-server -mg 1", EVERY_DEVICE),
        ("llama-server -mg", ANY),
        ("llama-server -ts 3,1", ("0", "1")),
        ("llama-server --tensor-split 0,1", ("1",)),
        ("llama-server --tensor-split 1/0.0/2.5", ("0", "2")),
        ("llama-server -ts 0", EVERY_DEVICE),
        ("llama-server -ot exps=CPU", ANY),
        ("llama-server -ot 'blk.1.*=CUDA1,exps=CPU'", EVERY_DEVICE),
        ("llama-server -dev CUDA0,CUDA1 -sm none -mg 1", ("1",)),
        ("llama-server -dev CUDA1,CUDA2 -ts 0,1", ("2",)),
        ("llama-server -dev CUDA1 -ot exps=CUDA1", ("1",)),
        ("whisper-server --device 1", ("1",)),
        ("tool --device cuda:1", ("1",)),
        ("tool --device cuda", ANY),
        ("tool --device cpu", ()),
        ("sh -c 'exec llama-server --device CUDA1'", ("1",)),
    ],
)
def test_flags(command, devices):
    """llama-server's flags, by the numbers that a process sees when all devices are visible."""
    assert found(command) == devices


@pytest.mark.parametrize(
    ("command", "devices"),
    [
        ("llama-server", ("3", "1")),
        ("llama-server -dev CUDA1", ("1",)),
        ("llama-server -dev CUDA0", ("3",)),
        ("llama-server -dev CUDA7", EVERY_DEVICE),
        ("llama-server -ts 0,1", ("1",)),
        ("llama-server -sm none -mg 0", ("3",)),
        ("llama-server -mg 1", ("3", "1")),
        ("llama-server -dev none", ()),
        ("tool --device cuda", ("3", "1")),
    ],
)
def test_flags_count_what_is_visible(command, devices):
    """CUDA counts the visible devices anew from 0."""
    assert found(command, CUDA_VISIBLE_DEVICES="3,1") == devices


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({"LLAMA_ARG_DEVICE": "CUDA1"}, ("1",)),
        ({"LLAMA_ARG_N_GPU_LAYERS": "0"}, ()),
        ({"LLAMA_ARG_SPLIT_MODE": "none", "LLAMA_ARG_MAIN_GPU": "1"}, ("1",)),
        ({"LLAMA_ARG_TENSOR_SPLIT": "0,1"}, ("1",)),
    ],
)
def test_variables_of_llama_cpp(variables, devices):
    """Each flag has a variable, and the flag wins."""
    assert found("llama-server", **variables) == devices
    assert found("llama-server -dev CUDA3", LLAMA_ARG_DEVICE="CUDA1") == ("3",)


@pytest.mark.parametrize(
    ("command", "devices"),
    [
        ("docker run --gpus all image", EVERY_DEVICE),
        ("docker run --gpus '\"device=0,2\"' image", ("0", "2")),
        ("docker run --gpus device=GPU-8932f937 image", ("GPU-8932f937",)),
        ("docker run --gpus=device=1 image", ("1",)),
        ("docker run --gpus 2 image", EVERY_DEVICE),
        ("podman run --device nvidia.com/gpu=0 --device=nvidia.com/gpu=1 image", ("0", "1")),
        ("podman run --device nvidia.com/gpu=all image", EVERY_DEVICE),
        ("podman run --device /dev/kfd image --device none", EVERY_DEVICE),
        ("docker run image", EVERY_DEVICE),
        ("/usr/bin/docker run image", EVERY_DEVICE),
        ("bash -c 'exec docker run image'", EVERY_DEVICE),
        ("sudo llama-server", EVERY_DEVICE),
        ("systemd-run --user llama-server", EVERY_DEVICE),
        ("ssh host llama-server", EVERY_DEVICE),
    ],
)
def test_what_our_environment_does_not_reach(command, devices):
    """We cannot choose a device for a container, but may read which it is given."""
    assert found(command, CUDA_VISIBLE_DEVICES="0") == devices


def test_configured(load):
    """A model has its own environment over that of the service, and a reload of neither restarts it for nothing."""
    text = "models: {a: {cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=1]}, b: {cmd: 'srv ${PORT} b'}}"
    config = load(text, env={"CUDA_VISIBLE_DEVICES": "2"})
    assert {name: model.devices for name, model in config.models.items()} == {"a": ("1",), "b": ("2",)}
    assert {name: spec.devices for name, spec in config.scheduler.models.items()} == {
        "a": ("1",),
        "b": ("2",),
    }
    assert load(text).models["b"].devices is None


FIT = "routing: {router: {use: fit}}\n"
LIKE_NVML = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        (FIT + "models: {a: {cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=1]}}", LIKE_NVML),
        (FIT + "models: {a: {cmd: 'llama-server -dev CUDA1 --port ${PORT}'}}", LIKE_NVML),
        ("models: {a: {cmd: 'llama-server -dev CUDA1 --port ${PORT}'}}", LIKE_NVML),
        ("groups: {g: {members: [a]}}\nmodels: {a: {cmd: 'llama-server -dev CUDA1 --port ${PORT}'}}", {}),
        (FIT + "models: {a: {cmd: 'srv ${PORT}', env: [CUDA_VISIBLE_DEVICES=GPU-1]}}", {}),
        (FIT + "models: {a: {cmd: 'srv ${PORT}'}}", {}),
        (
            FIT
            + "models: {a: {cmd: 'llama-server -dev CUDA1 --port ${PORT}', env: [CUDA_DEVICE_ORDER=FASTEST_FIRST]}}",
            {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
        ),
    ],
)
def test_numbers_count_as_the_driver_does(load, text, variables):
    """Where memory decides, a number is the device that is measured under it; CUDA's own order is another."""
    env = dict(load(text).models["a"].env)
    assert {name: value for name, value in env.items() if name == "CUDA_DEVICE_ORDER"} == variables


def test_an_order_of_the_service_is_kept(load):
    """What the environment says of the order is left alone."""
    config = load(
        FIT + "models: {a: {cmd: 'llama-server -dev CUDA1 --port ${PORT}'}}", env={"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
    )
    assert config.models["a"].env == ()


@given(st.lists(st.text("-devcuda=0123456789,CUDAmgts/ \"'.:nogpu", max_size=14), max_size=8), st.text(max_size=12))
def test_any_command_is_read(argv, visible):
    """No command is a reason to fail, and what is found has the form of devices."""
    devices = devices_of(argv, {"CUDA_VISIBLE_DEVICES": visible})
    assert devices is None or all(isinstance(device, str) and device for device in devices)
