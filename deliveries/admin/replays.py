"""The admin of replays: how far they have come, and the form that starts one, after a dry run."""

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from deliveries import replays
from deliveries.models import Replay
from deliveries.replay_form import ReplayForm
from deliveries.replays import ASKED, Count, ReplayUnderWay
from subscriptions.admin.base import RecordAdmin
from subscriptions.admin.bulk import bulk_action
from subscriptions.admin.display import mark, moment
from subscriptions.admin.filters import CreatedFilter
from subscriptions.history import HistoryEntry
from subscriptions.models import Endpoint

TONES = {
    Replay.State.RUNNING: "busy",
    Replay.State.PAUSED: "waiting",
    Replay.State.FINISHED: "good",
    Replay.State.CANCELLED: "over",
}


@admin.register(Replay)
class ReplayAdmin(RecordAdmin):
    history_kind = HistoryEntry.Kind.REPLAY
    list_display = [
        *["id", "endpoint", "kind", "pattern", "how_it_is"],
        *["come_by", "replayed", "rate", "created"],
    ]
    list_filter = ["state", "kind", CreatedFilter]
    list_select_related = ["endpoint"]
    search_fields = ["endpoint__url"]
    search_help_text = "By URL, or the full id of a replay, an endpoint or a subscriber."
    id_lookups = {"rpl": "pk", "ep": "endpoint", "sub": "endpoint__subscriber"}
    sortable_by = ["id", "created"]
    actions = ["pause", "resume", "cancel"]
    buttons = ["pause", "resume", "cancel"]
    fields = (
        *("id", "endpoint", *ASKED),
        *("how_it_is", "waits_for", "come_by", "replayed", "created_at", "ended_at"),
    )
    readonly_fields = ("how_it_is", "waits_for", "come_by")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False  # on the endpoint's page

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.start_view)
        return [
            path("start/<str:endpoint>/", page, name="deliveries_replay_start"),
            *super().get_urls(),
        ]

    def start_view(self, request: HttpRequest, endpoint: str) -> HttpResponse:
        """A form that counts what would be sent, then starts to send it."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        try:
            replay = Replay(endpoint=Endpoint.objects.sent_to().get(pk=unquote(endpoint)))
        except (Endpoint.DoesNotExist, ValidationError):
            raise Http404 from None
        form = ReplayForm(request.POST or None, instance=replay)
        counted: Count | None = None
        if form.is_valid():
            if "start" not in request.POST:
                counted = replays.count(replay)
            elif self._start(request, form):
                url = reverse("admin:deliveries_replay_change", args=[quote(replay.pk)])
                return HttpResponseRedirect(url)
        context = {
            **self.admin_site.each_context(request),
            "title": "Replay",
            "opts": self.opts,
            "media": self.media,
            "original": replay.endpoint,
            "endpoint": replay.endpoint,
            "form": form,
            "counted": counted,
        }
        return TemplateResponse(request, "admin/deliveries/replay/start.html", context)

    def _start(self, request: HttpRequest, form: ReplayForm) -> bool:
        try:
            replays.start(form.instance)
        except ReplayUnderWay as error:
            form.add_error(None, str(error))
            return False
        self.message_user(request, "The replay is on its way.")
        return True

    @admin.display(description="state")
    def how_it_is(self, replay: Replay) -> SafeString:
        state = Replay.State(replay.state)
        return mark("waits" if replay.waits_for else state.value, TONES[state])

    @admin.display(description="progress")
    def come_by(self, replay: Replay) -> str:
        return f"{replay.progress:.0%}"

    @admin.display(ordering="-pk")
    def created(self, replay: Replay) -> SafeString | None:
        return moment(replay.created_at)

    @bulk_action(
        "Pause: send nothing more for now",
        done="paused",
        permissions=["change"],
        touches=lambda chosen: chosen.filter(state=Replay.State.RUNNING),
    )
    def pause(self, request: HttpRequest, chosen: QuerySet[Replay]) -> int:
        return len(replays.pause(ids_of(chosen)))

    @bulk_action(
        "Resume: go on",
        done="resumed",
        permissions=["change"],
        touches=lambda chosen: chosen.filter(state=Replay.State.PAUSED),
    )
    def resume(self, request: HttpRequest, chosen: QuerySet[Replay]) -> int:
        return len(replays.resume(ids_of(chosen)))

    @bulk_action(
        "Cancel",
        done="cancelled",
        permissions=["change"],
        touches=lambda chosen: chosen.filter(state__in=Replay.UNDER_WAY),
        warning="This cannot be undone; what was sent already stays.",
    )
    def cancel(self, request: HttpRequest, chosen: QuerySet[Replay]) -> int:
        return len(replays.cancel(ids_of(chosen)))


def ids_of(chosen: QuerySet[Replay]) -> list[str]:
    return list(chosen.values_list("pk", flat=True))
