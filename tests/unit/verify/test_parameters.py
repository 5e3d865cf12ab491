"""What a module is loaded with."""

import pytest

from kmodlab.verify.module import kernel_words, typed


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ("", []),
        ("a=1 b=x,y,z", ["a=1", "b=x,y,z"]),
        ('text="hello world" n=1', ['text="hello world"', "n=1"]),
        ("text='a \"b'", ['text=a "b']),
        ("'text=$HOME;*'", ["text=$HOME;*"]),
        ("flag", ["flag"]),
    ],
)
def test_the_kernel_reads_parameters_as_they_were_typed(parameters: str, words: list[str]) -> None:
    assert kernel_words(parameters) == words


def test_the_shell_passes_them_on_as_they_are() -> None:
    assert typed("""text="two words" path=/a/$b""") == """'text="two words"' 'path=/a/$b'"""
