from __future__ import annotations

from vqa_pipeline.modeling.training.pace import SavePace, Stopwatch


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_training_time_goes_on_where_earlier_runs_ended() -> None:
    clock = Clock()
    watch = Stopwatch(50.0, clock)
    clock.wait(2.5)
    assert (watch.elapsed(), watch.total()) == (2.5, 52.5)


def test_what_saves_at_once_is_due_every_ten_seconds() -> None:
    clock = Clock()
    pace = SavePace(clock)
    clock.wait(9.9)
    assert not pace.is_due()
    clock.wait(0.1)
    assert pace.is_due()
    pace.save(lambda: clock.wait(0.1))
    assert not pace.is_due()
    clock.wait(10.0)
    assert pace.is_due()


def test_slow_saving_takes_a_twentieth_of_the_time() -> None:
    clock = Clock()
    pace = SavePace(clock)
    pace.save(lambda: clock.wait(3.0))
    clock.wait(59.0)
    assert not pace.is_due()
    clock.wait(1.0)
    assert pace.is_due()
