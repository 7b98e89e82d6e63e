"""The OpenAPI document: what drf-spectacular cannot see for itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse

from subscriptions.api.access import ApiKeyAuthentication

DETAIL = {
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string"}, "request_id": {"type": "string"}},
}
FIELDS = {
    "type": "object",
    "description": "What is wrong, by the name of the field; and the `request_id`.",
    "additionalProperties": {},
    "example": {"url": ["Use https instead of http."]},
}
REFUSALS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "400": ("BadRequest", "Something in the request is not as it should be.", FIELDS),
    "401": ("Unauthorized", "There is no API key, or no valid one.", DETAIL),
    "403": ("Forbidden", "The API key is valid, but not for this.", DETAIL),
    "404": ("NotFound", "There is no such thing.", DETAIL),
    "409": ("Conflict", "Somebody else changed the same at the same time.", DETAIL),
    "413": ("TooLarge", "The body is too large.", DETAIL),
    "415": ("UnsupportedMediaType", "The body is not application/json.", DETAIL),
    "429": ("TooManyRequests", "The API key has used up its rate: see Retry-After.", DETAIL),
}


def conflict(why: str) -> OpenApiResponse:
    """A 409 for @extend_schema."""
    return OpenApiResponse(DETAIL, why)


def document_refusals(result: dict[str, Any], **_: object) -> dict[str, Any]:
    """Add to each operation the refusals that come of what all of them share.

    Wants a place in SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"].
    """
    result["components"]["responses"] = {
        name: {"description": why, "content": {"application/json": {"schema": schema}}}
        for name, why, schema in REFUSALS.values()
    }
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            statuses = ["400", "401", "403", "429"]
            if "{" in path or method == "get":
                statuses += ["404"]
            if method != "get":
                statuses += ["413", "415"]
            if "requestBody" in operation:
                statuses += ["409"]
            for status in statuses:
                name = REFUSALS[status][0]
                operation["responses"].setdefault(
                    status, {"$ref": f"#/components/responses/{name}"}
                )
    return result


class ScopedSchema(AutoSchema):
    """Says of each operation what it takes of an API key."""

    view: Any

    def get_operation(self, *where: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*where)
        if operation is not None:
            takes = f"Takes the scope `{self.view.scopes[self.view.action]}`"
            if self.view.action in self.view.unbound_only:
                takes += ", of a key that is not bound to a subscriber"
            said = operation.get("description", "")
            operation["description"] = f"{said}\n\n{takes}.".strip()
        return operation


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes the key to readers of the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "ApiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, as `manage.py create_api_key NAME` prints it. Its scopes "
            "are `emit` (to emit events), `read`, and `manage`, which includes `read`. To a key "
            "that is bound to a subscriber nothing else exists than what is that subscriber's.",
        }
