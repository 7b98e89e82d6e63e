"""The admin of subscribers, endpoints, event types and API keys; what every list here has."""

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import transaction
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.forms import (
    CheckboxSelectMultiple,
    Form,
    Media,
    ModelChoiceField,
    MultipleChoiceField,
)
from django.forms.models import ModelForm as PlainModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.views.decorators.debug import sensitive_post_parameters
from rest_framework_api_key import admin as package_admin

from subscriptions import catalogue_file, replica
from subscriptions.credentials_form import EndpointForm, credential_fieldsets
from subscriptions.endpoint_forms import NewEndpointForm, SubscriptionForm
from subscriptions.event_type_forms import EventTypeForm, ImportForm
from subscriptions.hidden_characters import shown
from subscriptions.history import HistoryEntry
from subscriptions.ids import lowest_uuid_at, to_uuid
from subscriptions.models import (
    ApiKey,
    Endpoint,
    EndpointQuerySet,
    EventType,
    Feed,
    Handshake,
    SigningSecret,
    Subscriber,
    Subscription,
)
from webhooks.keys import InvalidSecret, Kind

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    ModelForm = PlainModelForm[Any]
    TabularInline = admin.TabularInline[Any, Any]
else:
    ModelAdmin, TabularInline = admin.ModelAdmin, admin.TabularInline
    ModelForm = PlainModelForm

logger = logging.getLogger(__name__)

PATTERNS_SHOWN = 5
ROWS_LISTED = 10_000
ENTRIES_SHOWN = 100


def mark(word: str, tone: str) -> SafeString:
    """A word in the colour of its tone: good, busy, waiting, bad or over."""
    return format_html('<span class="mark {}">{}</span>', tone, word)


def moment(time: datetime | None) -> SafeString | None:
    """How long ago (or ahead) a time is; the time itself where the pointer rests on it."""
    if time is None:
        return None
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        time.isoformat(),
        f"{time:%Y-%m-%d %H:%M:%S %Z}",
        naturaltime(time),
    )


def shown_handshake(handshake: Handshake | None) -> SafeString | str:
    """How it goes with an endpoint's challenge."""
    if handshake is None:
        return "not required"
    if handshake.verified_at is not None:
        return format_html("verified {}", moment(handshake.verified_at))
    if handshake.tried_at is None:
        return "the challenge is about to be sent"
    status = f" ({handshake.status})" if handshake.status else ""
    ending = "" if handshake.due_at else "; it was the last try, unless somebody asks for another"
    return format_html(
        "try {}, {}: {}{}{}<pre class='text'>{}</pre>",
        handshake.tries,
        moment(handshake.tried_at),
        shown(handshake.error),
        status,
        ending,
        shown(handshake.response_body),
    )


def shown_probe(endpoint: Endpoint) -> SafeString | str:
    """When an endpoint whose circuit is not closed is probed."""
    if endpoint.circuit == Endpoint.Circuit.HALF_OPEN:
        return "a delivery probes it"
    if endpoint.probe_at is None:
        return ""
    if endpoint.probe_at < timezone.now():
        return "the next delivery probes it"
    return format_html("to be probed {}", moment(endpoint.probe_at))


class CreatedFilter(admin.SimpleListFilter):
    """Goes by the ids, which sort by time and are indexed."""

    title = parameter_name = "created"
    hours = {
        "hour": ("in the last hour", 1),
        "day": ("in the last 24 hours", 24),
        "week": ("in the last 7 days", 7 * 24),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(choice, label) for choice, (label, _) in self.hours.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in self.hours:
            return queryset
        _, hours = self.hours[self.value() or ""]
        return queryset.filter(pk__gte=lowest_uuid_at(timezone.now() - timedelta(hours=hours)))


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Pages of the first ROWS_LISTED rows: to count millions takes longer than to read a page."""

    object_list: QuerySet[Any]

    @cached_property
    def count(self) -> int:
        # The bare ids, or what the list shows of each row would be worked out for all of them.
        return self.object_list.order_by().values("pk")[:ROWS_LISTED].count()

    @property
    def is_cut(self) -> bool:
        return self.count == ROWS_LISTED


class ListFromReplica(ChangeList):
    """Read from the replica, unless it is to be changed."""

    def get_results(self, request: HttpRequest) -> None:
        if request.method == "GET":
            replica.read(self.queryset, partial(self._look, request))
        else:
            super().get_results(request)

    def _look(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        self.queryset = rows
        super().get_results(request)
        # Now rather than in the template, where it would be too late to turn to the primary.
        len(self.result_list)


class AngariumAdmin(ModelAdmin):
    """A list that may be long, and finds by a full id what has it or belongs to it."""

    id_lookups: Mapping[str, str] = {}
    history_kind = ""
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    paginator = BoundedPaginator
    change_list_template = "admin/subscriptions/change_list.html"
    object_history_template = "admin/subscriptions/object_history.html"

    class Media:
        css = {"all": ["subscriptions/admin.css"]}

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return ListFromReplica

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

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *options: Any
    ) -> HttpResponse | None:
        if request.POST.get("select_across") == "1":
            # "All" are those that the list has counted.
            counted = list(queryset.values_list("pk", flat=True)[:ROWS_LISTED])
            queryset = queryset.filter(pk__in=counted)
        return super().response_action(request, queryset, *options)

    def history_of(self, obj: Any) -> QuerySet[HistoryEntry]:
        """The entries that concern an object."""
        return HistoryEntry.objects.filter(kind=self.history_kind, object_id=obj.pk)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        obj = self.get_object(request, unquote(object_id))
        entries = [] if obj is None else self.history_of(obj)[:ENTRIES_SHOWN]
        return super().history_view(
            request, object_id, {"entries": entries, "limit": ENTRIES_SHOWN}
        )

    def report(self, request: HttpRequest, changed: int, chosen: int, done: str) -> None:
        """Tell how many of the chosen rows an action has changed."""
        noun = self.opts.verbose_name if chosen == 1 else self.opts.verbose_name_plural
        level = messages.SUCCESS if changed == chosen else messages.WARNING
        self.message_user(request, f"{changed} of {chosen} {noun} {done}.", level)


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


@admin.register(EventType)
class EventTypeAdmin(LockingAdmin):
    history_kind = HistoryEntry.Kind.EVENT_TYPE
    form = EventTypeForm
    list_display = ["name", "group", "description", "checked", "archived", "feature_flag"]
    list_filter = ["archived"]
    search_fields = ["name", "group", "description"]
    change_list_template = "admin/subscriptions/eventtype/change_list.html"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        said = ["name", "group", "description", "schema", "schema_check", "example"]
        offered = ["feature_flag", "archived"]
        if obj is None:
            return said + offered
        breaking = ["accept_breaking"] if self.has_change_permission(request, obj) else []
        return [*said[:4], *breaking, *said[4:], *offered, "created_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # The name is the key: another name would be another event type.
        return [] if obj is None else ["name", "created_at"]

    @admin.display(description="data is checked")
    def checked(self, event_type: EventType) -> str:
        return "no schema" if event_type.schema is None else event_type.get_schema_check_display()

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "export/",
                self.admin_site.admin_view(self.export),
                name="subscriptions_eventtype_export",
            ),
            path(
                "import/",
                self.admin_site.admin_view(self.import_file),
                name="subscriptions_eventtype_import",
            ),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        may_import = {"has_import_permission": self.has_change_permission(request)}
        return super().changelist_view(request, {**may_import, **(extra_context or {})})

    def export(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        text = catalogue_file.as_text(catalogue_file.export())
        disposition = {"Content-Disposition": 'attachment; filename="event-types.json"'}
        return HttpResponse(text, content_type="application/json", headers=disposition)

    def import_file(self, request: HttpRequest) -> HttpResponse:
        if not (self.has_add_permission(request) and self.has_change_permission(request)):
            raise PermissionDenied
        form = ImportForm(request.POST or None, request.FILES or None)
        report = form.report() if form.is_valid() else None
        context = {
            **self.admin_site.each_context(request),
            "title": "Import event types",
            "opts": self.opts,
            "form": form,
            "report": report,
            "done": report is not None and not form.cleaned_data["dry_run"],
        }
        return TemplateResponse(request, "admin/subscriptions/eventtype/import.html", context)


@admin.register(Subscriber)
class SubscriberAdmin(LockingAdmin):
    list_display = ["name", "external_id", "endpoints", "created_at"]
    search_fields = ["name", "external_id"]
    search_help_text = "By name, external id, or the full id of a subscriber or an endpoint."
    id_lookups = {"sub": "pk", "ep": "endpoints"}
    readonly_fields = ["id", "endpoints", "created_at"]
    actions = ["add_feed"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        endpoints = (
            Endpoint.objects.existing()
            .filter(subscriber=OuterRef("pk"))
            .order_by()
            .values("subscriber")
            .values(count=Count("pk"))
        )
        counted = Coalesce(Subquery(endpoints, output_field=IntegerField()), 0)
        subscribers = super().get_queryset(request).annotate(endpoint_count=counted)
        return cast("QuerySet[Any]", subscribers)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = ["name", "external_id", "feature_flags", "operator"]
        return fields if obj is None else [*fields, *self.readonly_fields]

    def history_of(self, obj: Subscriber) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(subscriber=obj.pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Django would read all of a subscriber's events first; the API has a better way.
        return False

    def has_add_feed_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.add_endpoint")

    @admin.action(
        description="Add a feed, for those that cannot be sent anything", permissions=["add_feed"]
    )
    def add_feed(self, request: HttpRequest, subscribers: QuerySet[Subscriber]) -> None:
        lacking = subscribers.exclude(endpoints__state=Endpoint.State.FEED)
        feeds = [Feed.objects.open(subscriber) for subscriber in lacking]
        self.report(request, len(feeds), subscribers.count(), "given a feed")
        for feed in feeds:
            url = reverse("admin:subscriptions_endpoint_change", args=[quote(feed.pk)])
            said = format_html('<a href="{}">Say what the feed asks for.</a>', url)
            self.message_user(request, said)

    @admin.display(description="endpoints")
    def endpoints(self, subscriber: Any) -> SafeString:
        url = reverse(
            "admin:subscriptions_endpoint_changelist", query={"subscriber": subscriber.pk}
        )
        return format_html('<a href="{}">{}</a>', url, subscriber.endpoint_count)


class SubscriptionInline(TabularInline):
    model = Subscription
    form = SubscriptionForm
    fields = ["pattern", "channels", "filter", "enabled", "created_at"]
    readonly_fields = ["created_at"]
    extra = 1
    show_change_link = True


@admin.register(Subscription)
class SubscriptionAdmin(LockingAdmin):
    list_display = ["pattern", "on_channels", "filter", "endpoint", "enabled", "failures"]
    list_filter = ["enabled"]
    list_select_related = ["endpoint"]
    search_fields = ["pattern", "endpoint__url"]
    search_help_text = (
        "By pattern, URL, or the full id of a subscription, an endpoint or a subscriber."
    )
    id_lookups = {"sbn": "pk", "ep": "endpoint", "sub": "endpoint__subscriber"}
    form = SubscriptionForm
    readonly_fields = [
        *["id", "endpoint", "pattern", "created_at"],
        *["filter_failures", "filter_failed_at", "filter_error"],
    ]
    fields = [*readonly_fields[:3], "channels", "filter", "enabled", *readonly_fields[3:]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # on the endpoint's page

    @admin.display(description="channels")
    def on_channels(self, subscription: Subscription) -> str:
        return ", ".join(subscription.channels) or "all"

    @admin.display(description="filter failures", ordering="filter_failures")
    def failures(self, subscription: Subscription) -> SafeString:
        if not subscription.filter_failures:
            return mark("no failures", "over")
        return mark(f"failed {subscription.filter_failures} times", "bad")


class SigningSecretInline(RecordInline):
    model = SigningSecret
    fields = ["secret", "created_at", "expires_at"]
    verbose_name_plural = "signing secrets"

    @admin.display
    def secret(self, secret: SigningSecret) -> str:
        return secret.public_key or "••••••••"


class HealthFilter(admin.SimpleListFilter):
    title = parameter_name = "health"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("healthy", "healthy"), ("failing", "failing"), ("new", "nothing delivered yet")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        healthy = Q(failing_since=None)
        delivered = Q(last_success_at__isnull=False)
        by_choice = {
            "healthy": healthy & delivered,
            "failing": ~healthy,
            "new": healthy & ~delivered,
        }
        return queryset.filter(by_choice.get(self.value() or "", Q()))


class SubscriberForm(Form):
    subscriber = ModelChoiceField(
        Subscriber.objects.all(),
        required=False,
        widget=AutocompleteSelect(
            Endpoint._meta.get_field("subscriber"),
            admin.site,
            attrs={"data-width": "100%", "aria-label": "Subscriber"},
        ),
    )


class SubscriberFilter(admin.ListFilter):
    """A search box, as there may be more subscribers than a list of links can hold."""

    title = parameter = lookup = "subscriber"
    template = "admin/subscriptions/subscriber_filter.html"

    def __init__(
        self, request: HttpRequest, params: dict[str, list[str]], model: Any, model_admin: Any
    ) -> None:
        super().__init__(request, params, model, model_admin)
        form = SubscriberForm({"subscriber": params.pop(self.parameter, [""])[-1]})
        if not form.is_valid():
            raise IncorrectLookupParameters(form.errors)
        self.subscriber: Subscriber | None = form.cleaned_data["subscriber"]
        if self.subscriber is not None:
            self.used_parameters[self.parameter] = self.subscriber.pk

    def has_output(self) -> bool:
        return self.request.user.has_perm("subscriptions.view_subscriber")

    def expected_parameters(self) -> list[str | None]:
        return [self.parameter]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.subscriber is None:
            return queryset
        return queryset.filter(**{self.lookup: self.subscriber})

    def choices(self, changelist: Any) -> Any:
        others = [
            (name, value)
            for name, values in changelist.filter_params.items()
            for value in values
            if name != self.parameter
        ]
        yield {"form": SubscriberForm(initial={"subscriber": self.subscriber}), "others": others}


@admin.register(Endpoint)
# A report of an error would tell the secrets that were sent in.
@method_decorator(sensitive_post_parameters(), "changeform_view")
class EndpointAdmin(LockingAdmin):
    list_display = [
        *["url", "subscriber", "how_it_is", "health", "circuit_state"],
        *["last_success", "subscribes_to"],
    ]
    list_filter = ["state", "circuit", HealthFilter, SubscriberFilter]
    list_select_related = ["subscriber"]
    search_fields = ["url", "description", "subscriber__name", "subscriber__external_id"]
    search_help_text = "By URL, description, subscriber, or the full id of either."
    id_lookups = {"ep": "pk", "sub": "subscriber", "sbn": "subscriptions", "sec": "signing_secrets"}
    actions = [
        "pause",
        "resume",
        "close_circuit",
        "verify",
        "rotate_secret",
        "rotate_to_ed25519",
        "expire_secrets",
        "reveal_secret",
        "delete_for_good",
    ]
    form = EndpointForm
    autocomplete_fields = ["subscriber"]
    inlines = [SubscriptionInline, SigningSecretInline]
    facts = [
        "id",
        "how_it_is",
        "disabled_reason",
        "challenge",
        "health",
        "circuit_state",
        "last_success_at",
        "last_failure_at",
        "header_names",
        "authenticates_by",
        "created_at",
    ]
    facts_of_a_feed = ["id", "how_it_is", "created_at"]
    tones = {
        Endpoint.State.ACTIVE: "good",
        Endpoint.State.UNVERIFIED: "waiting",
        Endpoint.State.PAUSED: "waiting",
        Endpoint.State.DISABLED: "bad",
        Endpoint.State.FEED: "good",
        Endpoint.State.DELETED: "over",
    }
    circuit_tones = {
        Endpoint.Circuit.CLOSED: "good",
        Endpoint.Circuit.OPEN: "bad",
        Endpoint.Circuit.HALF_OPEN: "waiting",
    }

    @property
    def media(self) -> Media:
        return super().media + SubscriberForm().media

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("subscriptions")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is not None and obj.is_feed:
            own = {"fields": ["subscriber", "description"]}
            return [(None, own), ("How it is", {"fields": self.facts_of_a_feed})]
        main = ["subscriber", "url", "description", "signature_profile"]
        pace = ["max_in_flight", ("rate", "burst")]
        shape = ["format", "payload", "projection", "gzip_above", "send_traceparent"]
        batches = ["batch_events", "batch_seconds", "batch_bytes", "ordered"]
        fieldsets: list[Any] = [
            (None, {"fields": main}),
            ("How fast it gets them", {"fields": pace}),
            ("What events look like", {"fields": [*shape, *batches]}),
        ]
        if obj is None:
            main += ["secret_kind", "secret", "require_handshake"]
        else:
            fieldsets.append(("How it is", {"fields": self.facts}))
        if obj is None or self.has_change_permission(request, obj):
            fieldsets += credential_fieldsets(obj)
        return fieldsets

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any
    ) -> Any:
        if obj is None:
            options["form"] = NewEndpointForm
        return super().get_form(request, obj, change, **options)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["subscriber", *self.facts]

    def get_inlines(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return [SubscriptionInline] if obj is None or obj.is_feed else self.inlines

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        deleted = obj is not None and obj.state == Endpoint.State.DELETED
        return not deleted and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Its deliveries are on record. There is an action that takes it out of use.
        return False

    def history_of(self, obj: Endpoint) -> QuerySet[HistoryEntry]:
        return HistoryEntry.objects.filter(endpoint=obj.pk)

    def has_delete_for_good_permission(self, request: HttpRequest) -> bool:
        return super().has_delete_permission(request)

    def has_rotate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.add_signingsecret")

    def has_reveal_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("subscriptions.reveal_signingsecret")

    def save_model(self, request: HttpRequest, obj: Endpoint, form: Any, change: bool) -> None:
        form.keep()
        for warning in obj.warnings() if "url" in form.changed_data else ():
            self.message_user(request, warning, messages.WARNING)

    def response_add(
        self, request: HttpRequest, obj: Endpoint, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._show_secret(request, obj)

    @admin.display(description="state", ordering="state")
    def how_it_is(self, endpoint: Endpoint) -> SafeString:
        state = Endpoint.State(endpoint.state)
        return mark(state.value, self.tones[state])

    @admin.display(description="handshake")
    def challenge(self, endpoint: Endpoint) -> SafeString | str:
        return shown_handshake(Handshake.objects.filter(endpoint=endpoint).first())

    @admin.display(ordering="failing_since")
    def health(self, endpoint: Endpoint) -> SafeString:
        if endpoint.failing_since is not None:
            since = date_format(timezone.localtime(endpoint.failing_since), "j M H:i")
            warned = endpoint.failure_warning
            nearly = f", {warned} % of the time until it is disabled" if warned else ""
            return mark(f"failing since {since}{nearly}", "bad")
        if endpoint.last_success_at is None:
            return mark("nothing delivered yet", "over")
        return mark("healthy", "good")

    @admin.display(description="circuit", ordering="circuit_opened_at")
    def circuit_state(self, endpoint: Endpoint) -> SafeString:
        circuit = Endpoint.Circuit(endpoint.circuit)
        return format_html(
            "{} {}", mark(circuit.label.lower(), self.circuit_tones[circuit]), shown_probe(endpoint)
        )

    @admin.display(ordering="last_success_at")
    def last_success(self, endpoint: Endpoint) -> SafeString | None:
        return moment(endpoint.last_success_at)

    @admin.display(description="custom headers")
    def header_names(self, endpoint: Endpoint) -> str:
        return ", ".join(endpoint.shown_credentials["header_names"])

    @admin.display(description="authentication")
    def authenticates_by(self, endpoint: Endpoint) -> str:
        known = endpoint.shown_credentials["authentication"]
        return shown(", ".join(f"{name} {value}" for name, value in known.items() if value))

    @admin.display
    def subscribes_to(self, endpoint: Endpoint) -> str:
        enabled = [wish.pattern for wish in endpoint.subscriptions.all() if wish.enabled]
        patterns = list(dict.fromkeys(enabled))
        more = len(patterns) - PATTERNS_SHOWN
        shown = ", ".join(patterns[:PATTERNS_SHOWN])
        return f"{shown} and {more} more" if more > 0 else shown

    @admin.action(description="Pause: hold deliveries back", permissions=["change"])
    def pause(self, request: HttpRequest, endpoints: EndpointQuerySet) -> None:
        self._change(request, endpoints, Endpoint.pause, "paused", EndpointQuerySet.sent_to)

    @admin.action(description="Resume: deliver again", permissions=["change"])
    def resume(self, request: HttpRequest, endpoints: EndpointQuerySet) -> None:
        self._change(request, endpoints, Endpoint.resume, "resumed", EndpointQuerySet.sent_to)

    @admin.action(description="Close the circuit: deliver at once", permissions=["change"])
    def close_circuit(self, request: HttpRequest, endpoints: EndpointQuerySet) -> None:
        self._change(
            request,
            endpoints,
            Endpoint.close_circuit,
            "given a closed circuit",
            EndpointQuerySet.sent_to,
        )

    @admin.action(description="Verify: send a challenge, hold deliveries", permissions=["change"])
    def verify(self, request: HttpRequest, endpoints: EndpointQuerySet) -> None:
        self._change(
            request, endpoints, Handshake.objects.require, "challenged", EndpointQuerySet.sent_to
        )

    @admin.action(description="Give a new signing secret: HMAC-SHA256", permissions=["rotate"])
    def rotate_secret(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> HttpResponse | None:
        return self._rotate(request, endpoints, Kind.HMAC)

    @admin.action(description="Give a new signing secret: Ed25519", permissions=["rotate"])
    def rotate_to_ed25519(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> HttpResponse | None:
        return self._rotate(request, endpoints, Kind.ED25519)

    @admin.action(description="Expire replaced signing secrets now", permissions=["rotate"])
    def expire_secrets(self, request: HttpRequest, endpoints: EndpointQuerySet) -> None:
        self._change(
            request,
            endpoints,
            SigningSecret.objects.expire_replaced,
            "limited to the newest signing secret",
        )

    @admin.action(description="Reveal the signing secret", permissions=["reveal"])
    def reveal_secret(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> HttpResponse | None:
        endpoint = self._only_one(request, endpoints)
        if endpoint is None:
            return None
        secret = endpoint.signing_secrets.filter(expires_at=None).first()
        if secret is not None:
            HistoryEntry.objects.note_reveal(secret)
            logger.info("%s was shown the signing secret of %s", request.user, endpoint.pk)
        return self._show_secret(request, endpoint)

    @admin.action(description="Delete for good", permissions=["delete_for_good"])
    def delete_for_good(
        self, request: HttpRequest, endpoints: EndpointQuerySet
    ) -> TemplateResponse | None:
        chosen = list(endpoints.existing().select_related("subscriber"))
        if "confirmed" in request.POST or not chosen:
            self._change(request, endpoints, Endpoint.delete_for_good, "deleted for good")
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Delete for good",
            "opts": self.opts,
            "media": self.media,
            "endpoints": chosen,
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(
            request, "admin/subscriptions/endpoint/delete_for_good.html", context
        )

    def _change(
        self,
        request: HttpRequest,
        endpoints: EndpointQuerySet,
        change: Any,
        done: str,
        those: Callable[[EndpointQuerySet], EndpointQuerySet] = EndpointQuerySet.existing,
    ) -> None:
        changed = list(those(endpoints))
        for endpoint in changed:
            change(endpoint)
        self.report(request, len(changed), endpoints.count(), done)

    def _only_one(self, request: HttpRequest, endpoints: EndpointQuerySet) -> Endpoint | None:
        chosen = list(endpoints.sent_to()[:2])
        if len(chosen) == 1:
            return chosen[0]
        self.message_user(
            request, "Choose one endpoint: its secret is shown by itself.", messages.ERROR
        )
        return None

    def _rotate(
        self, request: HttpRequest, endpoints: EndpointQuerySet, kind: Kind
    ) -> HttpResponse | None:
        endpoint = self._only_one(request, endpoints)
        if endpoint is None:
            return None
        try:
            SigningSecret.objects.issue(endpoint, kind=kind)
        except InvalidSecret as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        return self._show_secret(request, endpoint)

    def _show_secret(self, request: HttpRequest, endpoint: Endpoint) -> HttpResponse:
        # Not in a message: those go through cookies, and through the database, in the clear.
        context = {
            **self.admin_site.each_context(request),
            "title": "Signing secret",
            "opts": self.opts,
            "media": self.media,
            "endpoint": endpoint,
            "secret": endpoint.signing_secrets.filter(expires_at=None).first(),
        }
        return TemplateResponse(
            request, "admin/subscriptions/endpoint/signing_secret.html", context
        )


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

    @admin.action(description="Revoke: this cannot be undone", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        chosen = keys.count()
        self.report(request, keys.filter(revoked=False).update(revoked=True), chosen, "revoked")


@admin.register(HistoryEntry)
class HistoryEntryAdmin(RecordAdmin):
    list_display = ["time", "who", "done", "what", "what_changed"]
    list_filter = ["actor_kind", "kind", "action", CreatedFilter]
    sortable_by = ["time"]
    search_fields = [
        f"{column}__exact"
        for column in ("object_id", "name", "actor_id", "actor_name", "ip_address", "request_id")
    ]
    search_help_text = (
        "By id, name, who it was (a user, an API key's name or prefix), IP address or request id; "
        "all of a subscriber or an endpoint by its full id."
    )
    id_lookups = {
        "hist": "pk",
        "sub": "subscriber",
        "ep": "endpoint",
        **dict.fromkeys(["sbn", "sec", "dlv"], "object_id"),
    }
    fields = ["time", "who", "request_id", "done", "what", "what_changed", "endpoint", "subscriber"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(ordering="-pk")
    def time(self, entry: HistoryEntry) -> str:
        return f"{timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S}"

    @admin.display
    def who(self, entry: HistoryEntry) -> SafeString:
        return format_html("{}<br><small>{}</small>", entry.actor, entry.ip_address)

    @admin.display
    def done(self, entry: HistoryEntry) -> str:
        return str(entry)

    @admin.display
    def what(self, entry: HistoryEntry) -> SafeString:
        what = f"{entry.count} of them" if entry.count > 1 else shown(entry.name)
        return format_html("{}<br><small>{}</small>", what, entry.object_id)

    @admin.display
    def what_changed(self, entry: HistoryEntry) -> SafeString:
        return format_html_join(mark_safe("<br>"), "{}", ((line,) for line in entry.lines()))
