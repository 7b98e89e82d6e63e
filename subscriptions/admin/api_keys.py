"""API keys: shown once, then only revoked."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.forms import CheckboxSelectMultiple, MultipleChoiceField
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from rest_framework_api_key import admin as package_admin

from subscriptions.admin.base import RecordAdmin
from subscriptions.admin.bulk import bulk_action
from subscriptions.admin.display import mark, moment
from subscriptions.history import HistoryEntry
from subscriptions.models import ApiKey

# Nobody gets in with a key of the package's own kind: it would only be taken for one of ours.
admin.site.unregister(package_admin.APIKey)  # type: ignore[attr-defined]


@admin.register(ApiKey)
class ApiKeyAdmin(RecordAdmin):
    list_display = ["name", "prefix", "how_it_is", "allowed", "subscriber", "last_used"]
    list_filter = ["revoked"]
    list_select_related = ["subscriber"]
    search_fields = ["name", "prefix"]
    search_help_text = "By name, prefix, or the full id of the subscriber that it is bound to."
    id_lookups = {"sub": "subscriber"}
    readonly_fields = ["prefix", "created", "last_used_at"]
    autocomplete_fields = ["subscriber"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return ["name", "scopes", "subscriber", "rate", "expiry_date"]
        return [
            *["name", "allowed", "subscriber", "rate", "expiry_date", "revoked"],
            *self.readonly_fields,
        ]

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name != "scopes":
            return super().formfield_for_dbfield(db_field, request, **options)
        return MultipleChoiceField(
            choices=ApiKey.Scope.choices,
            widget=CheckboxSelectMultiple,
            help_text=db_field.help_text,
        )

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        obj.just_made = ApiKey.objects.assign_key(obj)
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        # Not in a message either.
        context = {
            **self.admin_site.each_context(request),
            "title": "API key",
            "opts": self.opts,
            "media": self.media,
            "api_key": obj,
        }
        return TemplateResponse(request, "admin/subscriptions/apikey/new.html", context)

    def history_of(self, obj: ApiKey) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(kind=HistoryEntry.Kind.API_KEY, object_id=obj.prefix)

    @admin.display(description="state")
    def how_it_is(self, key: ApiKey) -> SafeString:
        if key.revoked:
            return mark("revoked", "over")
        return mark("expired", "over") if key.has_expired else mark("usable", "good")

    @admin.display(description="scopes")
    def allowed(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description="last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString | None:
        return moment(key.last_used_at)

    @bulk_action(
        "Revoke",
        done="revoked",
        permissions=["change"],
        touches=lambda keys: keys.filter(revoked=False),
        warning="This cannot be undone.",
    )
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> int:
        return keys.update(revoked=True)
