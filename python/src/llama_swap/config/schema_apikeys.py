"""The keys of one entry of ``apiKeys``."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from llama_swap.config.apikeys import CredentialName, FilePath, KeyFrom, Origin
from llama_swap.config.leaves import Text, Whole, broken
from llama_swap.config.section import Section
from llama_swap.config.tree import Scalar

EXACTLY_ONE = "must have exactly one of `key`, `file`, `credential`"
FORMS = "as in {file: PATH, name: alice}"


class ApiKeySection(Section):
    """One API key, or several in a file, with who they are of; text alone is a `key`."""

    key: Text | None = None
    """The key (an addition) itself."""
    file: FilePath | None = None
    """File (an addition) with one key per line; a relative path starts at the directory of the configuration."""
    credential: CredentialName | None = None
    """Name of a credential (an addition) that systemd handed over, with one key per line."""
    name: Text = ""
    """Whose keys these are (an addition). Keys of one name share their part of the service; a key without a name is of
    somebody else each."""
    priority: Whole = 0
    """What is added (an addition) to the priority of the model for requests with these keys."""

    @property
    def source(self) -> str | KeyFrom | None:
        """The key, or where it stands; None where that is not said, or said twice."""
        places = (
            KeyFrom(Origin.FILE, self.file) if self.file is not None else None,
            KeyFrom(Origin.CREDENTIAL, self.credential) if self.credential is not None else None,
        )
        given = [each for each in (self.key, *places) if each is not None]
        return given[0] if len(given) == 1 else None


def _entry(raw: Any) -> Any:
    """Text alone stands for the key; what is no mapping else is refused."""
    if isinstance(raw, Scalar):
        if raw.value is None:
            raise broken("must be text or a mapping, not empty")
        return {"key": raw}
    if isinstance(raw, list):
        raise broken("must be text or a mapping, not a list")
    if not {"key", *Origin} & set(raw):
        # Said here and not beside what else is wrong with the entry, since it follows from a misspelt key.
        raise broken(EXACTLY_ONE, FORMS)
    return raw


ApiKey = Annotated[ApiKeySection, BeforeValidator(_entry, json_schema_input_type=str | float | bool | ApiKeySection)]
