"""From the name in a request to the configured model it stands for."""

from llama_swap.api.site import Visit
from llama_swap.config import Config, Model
from llama_swap.errors import Reason, RequestError


def find_model(config: Config, name: str | None, visit: Visit) -> Model:
    """The model that a client asked for by ID or alias; raises RequestError when there is none."""
    if not name:
        rule = 'name it in "model" (JSON or form field), or in ?model= for GET'
        raise RequestError(Reason.MODEL_MISSING, f"no model id could be identified: {rule}")
    visit.requested = name
    model = config.find(name)
    if model is None:
        raise RequestError(Reason.MODEL_UNKNOWN, _unknown(config, name))
    visit.model = model.id
    return model


def _unknown(config: Config, name: str) -> str:
    nearest = config.nearest(name)
    hint = f'did you mean "{nearest}"?' if nearest else "GET /v1/models lists the models"
    return f'no model is called "{name}": {hint}'
