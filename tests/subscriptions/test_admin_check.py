import pytest
from django.apps.registry import Apps

from subscriptions import checks

ADMIN, UNFOLD = "django.contrib.admin.apps.SimpleAdminConfig", "unfold.apps.BasicAppConfig"


@pytest.mark.parametrize(
    ("installed", "faults"),
    [
        ([], []),
        ([UNFOLD, ADMIN], []),
        ([ADMIN], ["subscriptions.E007"]),
        ([ADMIN, UNFOLD], ["subscriptions.E007"]),
    ],
    ids=["no admin", "unfold before it", "without unfold", "unfold after it"],
)
def test_an_admin_is_dressed_by_unfold_or_the_check_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, installed: list[str], faults: list[str]
) -> None:
    monkeypatch.setattr(checks, "apps", Apps(installed))
    assert [fault.id for fault in checks.check_admin()] == faults
