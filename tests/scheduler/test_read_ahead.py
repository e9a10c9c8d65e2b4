"""The file of the next model is read while its victims leave, and no longer than somebody wants that model."""


def begin(play_fit):
    """The model a leaves for b, whose file is read."""
    return play_fit({"a": 16, "b": 12}, fit={"read_ahead": True}).runs("a").arrives(1, "b").expect("stop a", "read b")


def test_nobody_waits_any_more(play_fit):
    """The only client left before its model could start."""
    p = begin(play_fit)
    p.goes(1).expect("unread b").because("nobody waits for b any more")
    p.exits("a").expect()
    p.arrives(2, "b").expect("start b")


def test_others_wait_still(play_fit):
    """The reading is for all of them."""
    begin(play_fit).arrives(2, "b").goes(1).expect().goes(2).expect("unread b")


def test_the_start_ends_it_later(play_fit):
    """The model reads what was read; the reading ends when it is ready."""
    p = begin(play_fit).exits("a").expect("start b")
    p.goes(1).ready("b").expect()


def test_one_that_waits_for_better_figures(play_fit):
    """The file is not read a second time when the claim is made again."""
    p = begin(play_fit)
    p.machine.problem = "the driver is being reloaded"
    p.measures().expect()
    p.machine.problem = ""
    p.measures().expect()
    p.exits("a").expect("start b")


def test_the_service_ends(play_fit):
    """Nothing is read for a model that will not start."""
    begin(play_fit).shuts_down().expect("reject 1 shutting_down", "unread b")
