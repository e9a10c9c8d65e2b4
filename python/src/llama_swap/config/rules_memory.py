"""What is declared of a model's memory against the devices that its command names."""

from collections.abc import Iterable, Iterator

from llama_swap.config.devices import EVERY_DEVICE
from llama_swap.config.names import Finding
from llama_swap.config.values import Model


def check_memory(models: Iterable[Model]) -> Iterator[Finding]:
    """Declarations that the command contradicts, so that one of them cannot be meant."""
    for model in models:
        path = ("models", model.id, "vram")
        if model.devices is None or model.devices == EVERY_DEVICE:
            continue
        if not model.devices and model.vram_bytes:
            yield Finding(path, "the command uses no device", "write vram: 0, or let it use one")
        strange = [device for device in model.vram_by_device if _is_another(device, model.devices)]
        if model.devices and strange:
            rule = f"names device {', '.join(strange)}, and the command can use only {', '.join(model.devices)}"
            yield Finding(path, rule, "name those that the command names")


def _is_another(device: str, devices: tuple[str, ...]) -> bool:
    """Whether it is none of these for certain: a number and a UUID may be the same device."""
    return device not in devices and all(other.isdecimal() == device.isdecimal() for other in devices)
