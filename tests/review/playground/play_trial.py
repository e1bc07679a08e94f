"""The trial that the tests of the playground run."""

ACD = {"contrast_layer_indices": ["original", 3], "contrast_function": {"name": "acd", "alpha": 0.2}}
TRIAL = {
    "prompt": "The road from Holkeswick follows the Torhol",
    "new_tokens": 20,
    "seed": 3,
    "settings": [{}, {"exits": ACD}, {"decoder": {"method": "top-p"}, "exits": ACD}],
}
