"""The admin's forms of the catalogue: one event type, and a file of them."""

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.forms.fields import InvalidJSONInput

from subscriptions import catalogue_file
from subscriptions.models import EventType
from subscriptions.schema_changes import breaking_changes

if TYPE_CHECKING:
    EventTypeModelForm = forms.ModelForm[EventType]
else:
    EventTypeModelForm = forms.ModelForm


class ReadableJson(forms.JSONField):
    """JSON as a person writes it: on several lines, and nothing where there is none."""

    def prepare_value(self, value: Any) -> Any:
        if value is None or isinstance(value, InvalidJSONInput):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False)


class EventTypeForm(EventTypeModelForm):
    """An event type; a schema that breaks promises takes a tick."""

    accept_breaking = forms.BooleanField(
        label="Take a schema that breaks what subscribers were promised", required=False
    )

    class Meta:
        model = EventType
        fields = "__all__"
        field_classes = {"schema": ReadableJson, "example": ReadableJson}

    def clean(self) -> None:
        super().clean()
        if self.instance._state.adding or "schema" not in self.cleaned_data:
            return
        before = EventType.objects.values_list("schema", flat=True).get(pk=self.instance.pk)
        broken = breaking_changes(before, self.cleaned_data["schema"])
        if broken and not self.cleaned_data.get("accept_breaking"):
            self.add_error("schema", [str(change) for change in broken])
            self.add_error("accept_breaking", "Keep to what was promised, or tick this.")


class ImportForm(forms.Form):
    """A file of the catalogue, and what to do with it."""

    file = forms.FileField(help_text="As it was exported: JSON.")
    dry_run = forms.BooleanField(label="Only show what would be done", required=False, initial=True)
    accept_breaking = forms.BooleanField(
        label="Take schemas that break what subscribers were promised", required=False
    )
    archive_missing = forms.BooleanField(
        label="Archive the event types that the file does not name", required=False
    )

    def report(self) -> catalogue_file.Report | None:
        """Import it. None where the file is no catalogue, or breaks promises; the form tells."""
        options: dict[str, Any] = {**self.cleaned_data}
        try:
            document = catalogue_file.read(options.pop("file").read(catalogue_file.MAX_BYTES + 1))
            return catalogue_file.import_catalogue(document, **options)
        except catalogue_file.InvalidCatalogue as error:
            self.add_error("file", str(error))
        except catalogue_file.BreakingImport as error:
            self.add_error("file", str(error))
            self.add_error(
                "accept_breaking", [f"{name} {change}" for name, change in error.report.breaking]
            )
        return None
