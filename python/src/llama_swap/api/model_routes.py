"""The paths of requests that name their model, and what the model's own server calls them (llama-swap v250)."""

JSON_ROUTES = (
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/completions",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/reranking",
    "/rerank",
    "/v1/rerank",
    "/v1/reranking",
    "/infill",
    "/completion",
    "/v1/audio/speech",
    "/v1/audio/voices",
    "/v1/images/generations",
    "/sdapi/v1/txt2img",
    "/sdapi/v1/img2img",
    "/audioapi/v1/tasks/run",
    "/v/chat/completions",
    "/v/responses",
    "/v/completions",
    "/v/messages",
    "/v/messages/count_tokens",
    "/v/embeddings",
    "/v/rerank",
    "/v/reranking",
)
FORM_ROUTES = ("/v1/audio/transcriptions", "/v1/images/edits")
INFER_ROUTES = frozenset({*JSON_ROUTES, *FORM_ROUTES})
QUERY_ROUTES = ("/v1/audio/voices", "/sdapi/v1/loras", "/props")


def upstream_target(target: str) -> str:
    """Path and query as the upstream knows them: ``/v/x`` is ``/x``, ``/audioapi/v1/x`` is ``/v1/x``."""
    if not target.startswith(("/audioapi/", "/v/")):
        return target
    return target[target.index("/", 1) :]
