from autocontrastive_gen.foundation.trees import differing, leaves


def test_leaves_have_dotted_names():
    assert leaves({"a": {"b": {"c": 1}, "d": [2, {"e": 3}]}, "f": None}) == {
        "a.b.c": 1,
        "a.d": [2, {"e": 3}],
        "f": None,
    }


def test_differences_are_named_to_the_leaf():
    a = {"run": {"models": ["x"], "top_k": 50}, "contrast": None, "same": {"k": 1}}
    b = {"run": {"models": ["x", "y"], "top_p": None}, "contrast": {"alpha": 0.1}, "same": {"k": 1}}
    assert differing(a, b) == ["contrast.alpha", "run.models", "run.top_k"]
    assert differing(b, a) == differing(a, b) and differing(a, a) == []
