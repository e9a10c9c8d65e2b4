"""From the configuration's and the scheduler's words to those of processes, upstreams and errors."""

from collections.abc import Mapping, Sequence

from llama_swap.config import Model
from llama_swap.errors import Reason, RequestError
from llama_swap.footprint.facts import ModelFacts
from llama_swap.footprint.fit_target import fit_target
from llama_swap.process import LaunchSpec
from llama_swap.proxy.upstream import UpstreamTimeouts
from llama_swap.scheduler import commands
from llama_swap.supervisor.memory import cuda_devices


def refusal(command: commands.RejectRequest) -> RequestError:
    """The error that a refused request ends in."""
    reason = Reason(command.reason.value)
    return RequestError(reason, command.message, retry_after_seconds=command.retry_after_seconds)


def upstream_timeouts(model: Model) -> UpstreamTimeouts:
    """The configured limits; connections are kept shorter than llama-server keeps them, whatever is configured."""
    shortest = UpstreamTimeouts().idle_conn
    return UpstreamTimeouts(
        idle_conn=min(model.timeouts.idle_conn_seconds or shortest, shortest),
        connect=model.timeouts.connect_seconds,
        response_header=model.timeouts.response_header_seconds,
        tls_handshake=model.timeouts.tls_handshake_seconds,
    )


def launch_spec(model: Model, env: Mapping[str, str], devices: Sequence[str] = ()) -> LaunchSpec:
    """How to start a model in an environment.

    Args:
        model: as configured.
        env: see :func:`environment_of`.
        devices: the pools of the only devices that it may see; () leaves that to it.
    """
    visible = cuda_devices(devices)
    return LaunchSpec(
        model=model.id,
        argv=model.argv,
        env={**env, **({"CUDA_VISIBLE_DEVICES": visible} if visible else {})},
        stop_argv=model.stop_argv,
        base_url=model.proxy,
        check_endpoint=model.check_endpoint,
        owned_port=model.port,
    )


def environment_of(model: Model, environment: Mapping[str, str], kept_bytes: int) -> dict[str, str]:
    """What a model's process gets besides its devices.

    Args:
        model: as configured.
        environment: what every process inherits.
        kept_bytes: what is to stay free of each device.
    """
    found = {**environment, **dict(model.env)}
    return found | fit_target(model.argv, found, kept_bytes)


def model_facts(model: Model, environment: Mapping[str, str], kept_bytes: int) -> ModelFacts:
    """What is known of a model before anybody looks at its files; the last two as in :func:`environment_of`."""
    return ModelFacts(
        model=model.id,
        argv=model.argv,
        env=environment_of(model, environment, kept_bytes),
        vram_bytes=model.vram_bytes,
        vram_by_device=model.vram_by_device,
        ram_bytes=model.ram_bytes,
        devices=model.devices,
        kept_bytes=kept_bytes,
    )
