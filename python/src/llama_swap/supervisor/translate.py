"""From the configuration's and the scheduler's words to those of processes, upstreams and errors."""

from collections.abc import Mapping, Sequence

from llama_swap.config import Model
from llama_swap.errors import Reason, RequestError
from llama_swap.footprint.facts import ModelFacts
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


def launch_spec(model: Model, environment: Mapping[str, str], devices: Sequence[str] = ()) -> LaunchSpec:
    """How to start a model in an environment.

    Args:
        model: as configured.
        environment: what every process inherits.
        devices: the pools of the only devices that it may see; () leaves that to it.
    """
    visible = cuda_devices(devices)
    return LaunchSpec(
        model=model.id,
        argv=model.argv,
        env={**environment, **dict(model.env), **({"CUDA_VISIBLE_DEVICES": visible} if visible else {})},
        stop_argv=model.stop_argv,
        base_url=model.proxy,
        check_endpoint=model.check_endpoint,
        owned_port=model.port,
    )


def model_facts(model: Model, environment: Mapping[str, str]) -> ModelFacts:
    """What is known of a model before anybody looks at its files."""
    return ModelFacts(
        model=model.id,
        argv=model.argv,
        env={**environment, **dict(model.env)},
        vram_bytes=model.vram_bytes,
        vram_by_device=model.vram_by_device,
        ram_bytes=model.ram_bytes,
        devices=model.devices,
    )
