import pytest
from tiny import WordTokenizer


@pytest.fixture
def tokenizer():
    return WordTokenizer()
