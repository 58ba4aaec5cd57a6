"""What one rank has otherwise than the others is refused before the first step, in all, and named."""

import pytest
import ranks


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refused")
    found = ranks.run(2, "refused.py", folder=folder)
    return {name: [each[name] for each in found] for name in found[0]}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("data", "rank 1: data: expected ['<f4', [8, 8, 1], "),
        ("labels", "rank 1: labels: expected "),
        ("weights", "rank 1: weights: expected "),
        ("batch size", "rank 1: batch_size: expected 40, as on rank 0, got 30"),
        ("rate", "rank 1: optimizer: expected the same as on rank 0"),
        ("network", "rank 1: model: expected the same as on rank 0"),
        ("seed", "rank 1: weights: expected "),
    ],
)
def test_data_weights_and_arguments(refused, case, message):
    for kind, text, steps in refused[case]:
        assert kind == "ValueError"
        assert text.startswith(f"train: parallel: {message}")
        assert steps == 0


def test_versions(refused):
    for kind, text, steps in refused["version"]:
        assert (kind, steps) == ("ValueError", 0)
        assert text.startswith("train: parallel: rank 1: version of cnnx: expected '")
        assert text.endswith("', as on rank 0, got '99.0'")


def test_arguments_that_make_ranks_do_different_things(refused):
    for case in ("no seed", "checkpoint"):
        first, second = refused[case]
        assert first[0] == "RankError"
        assert (first[2], second[2]) == (0, 0)


def test_an_error_of_one_rank_before_the_first_step_is_an_error_of_all(refused):
    first, second = refused["bad labels"]
    assert second[0] == "ValueError"
    assert first[:2] == ["RankError", f"rank 1: ValueError: {second[1]}"]


def test_parameters_that_drift_apart_are_noticed(refused):
    for kind, text, _ in refused["parameters"]:
        assert kind == "RankError"
        assert text == (
            "after step 2 the parameters of rank 1 are not those of rank 0; a callback that changes model or optimizer "
            "says everywhere = True"
        )


def test_without_a_seed_that_of_rank_0_counts(refused):
    first, second = refused["unseeded"]
    assert first == second
