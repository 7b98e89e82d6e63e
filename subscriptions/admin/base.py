"""What every list and page here has: bounds, search by id, the history, leave to change."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten, unquote
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from subscriptions.admin import pages
from subscriptions.history import HistoryEntry
from subscriptions.ids import to_uuid

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    from unfold.admin import ModelAdmin, TabularInline

ENTRIES_SHOWN = 100


class AngariumAdmin(ModelAdmin):
    """A list that may be long, and finds by a full id what has it or belongs to it."""

    id_lookups: Mapping[str, str] = {}
    buttons: Sequence[str] = ()
    """The actions that the page of a row has a button for, where they would touch it."""
    history_kind = ""
    list_per_page = 50
    list_fullwidth = True
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    paginator = pages.BoundedPaginator
    change_form_template = "admin/subscriptions/change_form.html"
    change_list_template = "admin/subscriptions/change_list.html"
    object_history_template = "admin/subscriptions/object_history.html"

    class Media:
        css = {"all": ["subscriptions/admin.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **options: Any) -> "type[ChangeList]":
        return pages.ListFromReplica

    def more_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the page of a row shows beyond its fields, for its template."""
        return {}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = extra_context or {}
        row = self.get_object(request, unquote(object_id)) if request.method == "GET" else None
        if row is not None:
            buttons = self._buttons(request, row)
            context = {"buttons": buttons, **self.more_of(request, row), **context}
        return super().change_view(request, object_id, form_url, context)

    def _buttons(self, request: HttpRequest, row: Any) -> list[tuple[str, str]]:
        """Names and labels of the actions that may be done to it."""
        allowed = self.get_actions(request) if self.buttons else {}
        itself = self.model._default_manager.filter(pk=row.pk)
        return [
            (name, name.replace("_", " ").capitalize())
            for name in self.buttons
            if name in allowed and getattr(type(self), name).touches(itself).exists()
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        try:
            to_uuid(term)
            lookup = self.id_lookups[term.partition("_")[0]]
        except (ValueError, KeyError):
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(**{lookup: term}), False

    def history_of(self, obj: Any) -> QuerySet[HistoryEntry]:
        """The entries that concern an object."""
        return HistoryEntry.objects.filter(kind=self.history_kind, object_id=obj.pk)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        obj = self.get_object(request, unquote(object_id))
        entries = [] if obj is None else self.history_of(obj)[:ENTRIES_SHOWN]
        return super().history_view(
            request,
            object_id,
            {"entries": entries, "limit": ENTRIES_SHOWN, "media": self.media},
        )


class LockingAdmin(AngariumAdmin):
    """Locks what it is about to change, lest that bring back what is being deleted."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        with transaction.atomic() if request.method == "POST" else nullcontext():
            return super().changelist_view(request, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if request.method != "POST":
            return rows
        return rows.select_for_update(of=("self",), no_key=True)


class RecordAdmin(AngariumAdmin):
    """Shows what is on record. Only actions change it, and those take the change permission."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class RecordInline(TabularInline):
    """Rows on record that belong to another."""

    classes = ["record"]
    extra = 0

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(RecordAdmin):
    """What Angarium alone writes; of some of it there are millions."""

    def get_changelist(self, request: HttpRequest, **options: Any) -> Any:
        return pages.PagesById

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return flatten(self.fields or [])

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False
