"""However a run ends, all ranks end, after the same batch; and another number of ranks goes on from its checkpoint."""

import pytest
import ranks

import cnnx


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ends")


@pytest.fixture(scope="module")
def ended(folder):
    """By case, what each of four ranks came to."""
    found = ranks.run(4, "ends.py", folder, folder=folder)
    return {name: [each[name] for each in found] for name in found[0]}


@pytest.fixture(scope="module")
def resumed(folder, ended):
    """By case, what each of two ranks came to that went on."""
    found = ranks.run(2, "ends.py", folder, "resume", folder=folder)
    return {name: [each[name] for each in found] for name in found[0]}


def all_alike(outcomes):
    """All ranks say the same."""
    assert all(outcome == outcomes[0] for outcome in outcomes), outcomes
    return outcomes[0]


def test_ctrl_c_in_one_rank_ends_all_after_the_next_batch(ended):
    outcome = all_alike(ended["ctrl-c"])
    assert outcome["interrupted"] == [2, 2]
    assert outcome["epochs"] == 1
    assert outcome["error"] is None


def test_a_callback_of_rank_0_ends_all(ended):
    outcome = all_alike(ended["stop"])
    assert (outcome["stopped"], outcome["steps"], outcome["epochs"]) == ("enough", 2, 0)


def test_early_stopping_ends_all_after_its_epoch_with_the_weights_that_it_gives_back(ended):
    outcome = all_alike(ended["early"])
    assert outcome["stopped"] == "validation_loss has not improved for 1 epochs"
    assert (outcome["epochs"], outcome["steps"]) == (2, 6)
    assert outcome["model"] != ended["whole"][0]["model"]


def test_a_time_limit_ends_all_after_the_same_batch(ended):
    outcome = all_alike(ended["time"])
    assert outcome["stopped"] == "the time limit of 0.15 seconds is reached"
    assert 2 <= outcome["steps"] < 9


def test_divergence_is_the_same_error_in_all(ended):
    outcome = all_alike(ended["divergence"])
    assert outcome["error"].startswith("DivergenceError: epoch 1, batch 2 of 3: ")
    assert "try a smaller learning rate (it is 1e+30)" in outcome["error"]


def test_divergence_for_data_that_one_rank_has_says_so_in_all(ended):
    outcome = all_alike(ended["spoilt"])
    assert outcome["error"].startswith("DivergenceError: epoch 1, batch 2 of 3: the loss became nan because X has NaN")


@pytest.mark.parametrize(
    ("case", "rank", "error"),
    [
        ("reading", 3, "OSError: the disk of this node is gone"),
        ("callback", 0, "OSError: the disk is full"),
        ("everywhere", 1, "OSError: the disk is full"),
        ("arithmetic", 1, "FloatingPointError: a layer's own"),
        ("epoch end", 0, "OSError: no room for the log"),
    ],
)
def test_an_error_of_one_rank_is_an_error_of_all_that_names_it(ended, case, rank, error):
    for each, outcome in enumerate(ended[case]):
        assert outcome["error"] == (error if each == rank else f"RankError: rank {rank}: {error}")
        assert outcome["model"] == ended[case][0]["model"]


@pytest.mark.parametrize("case", ["ctrl-c", "stop", "time", "callback", "whole"])
def test_two_ranks_go_on_where_four_were_stopped_to_the_same_bits(ended, resumed, case):
    whole = all_alike(ended["whole"])
    assert whole["steps"] == 9
    outcome = all_alike(resumed[case])
    assert (outcome["model"], outcome["steps"]) == (whole["model"], 9)
    assert outcome["epochs"] == 3


def test_a_checkpoint_of_shards_is_not_for_a_run_without(folder, ended):
    model = cnnx.Model(cnnx.Flatten(), cnnx.DenseLayer(10), cnnx.SoftmaxLayer())
    (X, y), _ = cnnx.datasets.load_digits()
    with pytest.raises(ValueError, match=r"whole\.ckpt: "):
        model.train(X[:90], y[:90], 0.1, resume=folder / "whole.ckpt", verbose=False)
