import json
import math

import numpy as np
import pytest

from cnnx import DenseLayer, Flatten, Model, SoftmaxLayer, schedules
from cnnx.optimizers import SGD
from cnnx.schedules import CosineDecay, ExponentialDecay, OneCycle, ReduceOnPlateau, StepDecay


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (StepDecay(0.8, every=2, factor=0.5), {0: 0.8, 1.99: 0.8, 2: 0.4, 4.5: 0.2}),
        (ExponentialDecay(0.8, factor=0.25), {0: 0.8, 0.5: 0.4, 1: 0.2, 2: 0.05}),
        (CosineDecay(0.8, epochs=6, warmup=2, final=0.2), {0: 0, 0.5: 0.2, 2: 0.8, 4: 0.5, 6: 0.2}),
        (CosineDecay(1.0, epochs=3), {0: 1, 1: 0.75, 1.5: 0.5, 2: 0.25, 3: 0}),
        (OneCycle(1.0, epochs=10), {0: 0.04, 1.5: 0.52, 3: 1.0, 6.5: (1 + 4e-6) / 2, 10: 4e-6}),
        (OneCycle(1.0, epochs=4, rise=0.5, initial=0.2, final=0.0), {0: 0.2, 1: 0.6, 2: 1.0, 3: 0.5, 4: 0.0}),
    ],
    ids=repr,
)
def test_the_rate_is_that_of_the_formula(schedule, expected):
    for progress, rate in expected.items():
        assert schedule(progress) == pytest.approx(rate, rel=1e-12, abs=1e-15)
    config = json.loads(json.dumps(schedule.config()))
    again = getattr(schedules, config.pop("schedule"))(**config)
    assert [again(progress) for progress in expected] == [schedule(progress) for progress in expected]


def test_a_plateau_lowers_the_rate_after_more_than_patience_epochs_and_not_below_the_least():
    schedule = ReduceOnPlateau(0.1, factor=0.5, patience=1, min_delta=0.1, least=0.03)
    rates = []
    for loss in (1.0, 0.95, 0.8, 0.75, 0.75, 0.75, 0.75, math.nan, 0.1):
        schedule.observe({"validation_loss": loss})
        rates.append(schedule(0))
    # 0.95 is no improvement by more than 0.1 on 1.0; 0.8 is; then each second epoch without one lowers the rate.
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.03, 0.03, 0.03])
    again = ReduceOnPlateau(0.1, factor=0.5, patience=1, min_delta=0.1, least=0.03)
    again.restore(json.loads(json.dumps(schedule.state())))
    assert again.state() == schedule.state()


def test_a_plateau_of_an_accuracy_looks_for_larger_values():
    schedule = ReduceOnPlateau(0.1, monitor="validation_accuracy", patience=0)
    for accuracy in (0.5, 0.6, 0.7):
        schedule.observe({"validation_accuracy": accuracy})
    assert schedule(0) == 0.1
    schedule.observe({"validation_accuracy": 0.65})
    assert schedule(0) == pytest.approx(0.01)


def test_each_step_takes_the_rate_of_its_middle(rng):
    X, y = rng.standard_normal((8, 2, 2, 1)), rng.integers(0, 3, 8)
    model, by_hand = (Model(Flatten(), DenseLayer(units=3), SoftmaxLayer()) for _ in range(2))
    schedule = CosineDecay(0.5, epochs=2, warmup=1)
    for each in (model, by_hand):
        each.build((2, 2, 1), seed=0, dtype=np.float64)
    model.train(X, y, schedule, batch_size=4, epochs=2, shuffle=False, verbose=False)
    for epoch in range(2):
        for batch in range(2):
            rows = slice(4 * batch, 4 * batch + 4)
            by_hand.train_on_batch(X[rows], y[rows], schedule(epoch + (batch + 0.5) / 2))
    np.testing.assert_allclose(model.parameters, by_hand.parameters, rtol=1e-13)


def test_a_schedule_past_its_end_or_of_an_unknown_figure_is_refused_before_training(rng):
    X, y = rng.standard_normal((8, 2, 2, 1)), rng.integers(0, 3, 8)
    model = Model(Flatten(), DenseLayer(units=3), SoftmaxLayer())
    optimizer = SGD(OneCycle(0.1, epochs=3))
    model.train(X, y, optimizer=optimizer, epochs=2, verbose=False)
    with pytest.raises(ValueError, match=r"epochs: OneCycle\(.* ends after 3 epochs, got 2 after 2 before"):
        model.train(X, y, optimizer=optimizer, epochs=2, verbose=False)
    with pytest.raises(ValueError, match=r"expected one of \('loss', 'accuracy'\), got 'validation_loss'; give valid"):
        model.train(X, y, ReduceOnPlateau(0.1), verbose=False)
    with pytest.raises(ValueError, match="expected 0 to 3 epochs, got 3"):
        optimizer.learning_rate(3.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDecay(0, every=1), "StepDecay: learning_rate: expected a finite number above 0, got 0"),
        (lambda: StepDecay(1, every=0), "StepDecay: every: expected a finite number above 0"),
        (lambda: ExponentialDecay(1, factor=-1), "ExponentialDecay: factor: expected a finite number above 0"),
        (lambda: CosineDecay(1, epochs=2, warmup=2), "CosineDecay: warmup: expected fewer than the 2 epochs, got 2"),
        (lambda: OneCycle(1, epochs=2, rise=1), "OneCycle: rise: expected a number from 0"),
        (lambda: ReduceOnPlateau(1, factor=1), "ReduceOnPlateau: factor: expected a number from 0"),
        (lambda: ReduceOnPlateau(1, mode="up"), r"ReduceOnPlateau: mode: expected one of \('min', 'max'\), got 'up'"),
        (lambda: ReduceOnPlateau(1, patience=-1), "ReduceOnPlateau: patience: expected 0 or more, got -1"),
    ],
)
def test_arguments_that_cannot_be_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
