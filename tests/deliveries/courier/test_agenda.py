from deliveries.courier.agenda import Agenda


def test_what_is_due_is_taken_out_the_earliest_first() -> None:
    agenda: Agenda[str] = Agenda()
    for when, entry in ((3.0, "c"), (1.0, "a"), (2.0, "b"), (1.0, "a, too")):
        agenda.add(when, entry)
    assert agenda.due(0.5) == []
    assert agenda.due(2.0) == ["a", "a, too", "b"]
    assert len(agenda) == 1
    assert agenda.clear() == ["c"]
    assert not agenda
