"""The guard on wording: what it finds, what it leaves alone, and that our own templates and sentences pass it."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

from spoofcheck.errors import UsageError
from spoofcheck.render import conditions, custody, verbal, wording
from spoofcheck.render.guard import Problem, check_note, problems
from spoofcheck.resources import templates_dir

FORBIDDEN = [
    ("The recording is authentic.", "authentic"),
    ("Its authenticity was examined", "authenticity"),
    ("It is a GENUINE recording", "GENUINE"),
    ("It is not genuine.", "genuine"),
    ("this is 100 % fake", "100 % fake"),
    ("100% sure", "100% sure"),
    ("Synthetic speech was detected with certainty", "with certainty"),
    ("It is beyond reasonable doubt", "beyond reasonable doubt"),
    ("There is no doubt that it is fake", "no doubt"),
    ("The clip is a deepfake.", "is a deepfake"),
    ("The speech is clearly AI-generated.", "is clearly AI-generated"),
    ("The voice was cloned.", "was cloned"),
    ("At 0:12 the speech\nis synthetic", "is synthetic"),
    ("The audio is real.", "is real"),
    ("the probability that the clip is fake is 93 %", "probability that"),
    ("the likelihood that it is fake", "likelihood that"),
    ("The clip is probably fake", "is probably fake"),
    ("It is highly likely synthetic", "is highly likely synthetic"),
    ("93 % likely", "93 % likely"),
    ("Confidence: 0.98", "Confidence"),
    ("we are confident", "confident"),
    ("It was made by ElevenLabs.", "made by"),
    ("generated with XTTS v2", "generated with"),
    ("The system used was XTTS.", "The system used was"),
    ("It rules out other systems", "rules out"),
    ("The speaker is John Doe", "The speaker is"),
    ("spoken by Jane Roe", "spoken by"),
    ("the voice is that of the accused", "voice is that of"),
    ("made in order to deceive", "in order to deceive"),
    ("The findings prove it", "prove"),
    ("This is proof", "proof"),
    ("It shows that the recording was cut", "shows that the recording"),
    ("No fake found, so it is unedited.", "unedited"),
    ("no signs of manipulation", "no signs of manipulation"),
    ("it has not been edited", "not been edited"),
    ("the EER of this case is 5 %", "EER of this case"),
    ("The error rate for this exhibit is 3 %", "error rate for this exhibit"),
    ("The tool is 99 % accurate", "99 % accurate"),
    ("It begins exactly at 0:12", "exactly at 0"),
]

ALLOWED = [
    "",
    "The findings give moderate support for H1 rather than H2.",
    "about 33 times more probable if the speech is synthetic than if it is human",
    "It does not prove that the speech is synthetic.",
    "This is not the probability that the clip is fake.",
    "EER 14.2 % (95 % confidence interval 12.9 to 15.5) on the dev split",
    "This does not exclude cutting.",
    "more similar to XTTS v2 than to the other 12 enrolled sources",
    "The voice is said by the client to be spoken by Jane Roe.",
    "Nothing is said about whether the recording is authentic.",
    "The client asked whether the recording is genuine.",
    "The recording was made by a mobile phone.",
    "in real time",
    "None of them is the error rate of this case.",
    "an improved approach to provenance; the client approves",
    "authentications.log, profake.wav, unproblematic",
    "1,100 % of it",
]


@pytest.mark.parametrize(("text", "phrase"), FORBIDDEN)
def test_what_must_never_be_said_is_found(text: str, phrase: str) -> None:
    found = problems(text)
    assert phrase in [problem.phrase for problem in found]
    for problem in found:
        assert text[slice(*problem.span)] == problem.phrase
        assert problem.why.endswith(".")
        assert len(problem.suggestion) > 10


@pytest.mark.parametrize("text", ALLOWED)
def test_careful_words_are_left_alone(text: str) -> None:
    assert problems(text) == ()


def test_an_excuse_holds_for_its_own_clause_only() -> None:
    assert [p.phrase for p in problems("It does not prove anything. The speech is synthetic.")] == ["is synthetic"]
    assert [p.phrase for p in problems("Nothing here says so, yet the recording is authentic")] == ["authentic"]
    assert [p.phrase for p in problems("Asked whether it is fake: it is fake.")] == []
    assert [p.phrase for p in problems("Asked whether it is fake. It is fake.")] == ["is fake"]


def test_problems_come_in_order_and_once() -> None:
    found = problems("It is genuine and made by XTTS; the probability that it is fake is small. It proves much.")
    assert [p.phrase for p in found] == ["genuine", "made by", "probability that", "is fake", "proves"]
    assert list(found) == sorted(found, key=lambda p: p.span)


def test_curly_apostrophes_and_other_blanks() -> None:
    assert problems("It doesn\N{RIGHT SINGLE QUOTATION MARK}t prove it") == ()
    assert problems("made\N{NO-BREAK SPACE}by\n  XTTS")[0].phrase == "made\N{NO-BREAK SPACE}by"


def test_a_note_is_refused_with_phrase_reason_and_suggestion() -> None:
    check_note("The findings give moderate support for H1 rather than H2.")
    with pytest.raises(UsageError) as caught:
        check_note("The voice was \nmade \x1bby XTTS and this proves it; it is genuine. 100 %")
    message = str(caught.value)
    assert message.isprintable()
    assert "'proves' is more than a report can say" in message
    assert "Instead, say: the findings give" in message
    assert "also 'genuine', '100 %'" in message


def test_long_notes_take_no_time() -> None:
    for text in ("is really " * 400, "not " * 1000, "is " * 1300 + "fake", "no a " * 800 + "proof", "100 " * 1000):
        begun = time.process_time()
        problems(text)
        assert time.process_time() - begun < 1.0


class _Texts(HTMLParser):
    """The text nodes of a page; what is written between two blocks does not run together."""

    INLINE = frozenset({"a", "abbr", "b", "bdi", "code", "em", "i", "small", "span", "strong", "sub", "sup", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("style", "script")
        self.parts.append("" if tag in self.INLINE else "\n\n.\n")
        self.parts += [f"{value}\n.\n" for name, value in attrs if name in ("aria-label", "alt", "title") and value]

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")
        self.parts.append("" if tag in self.INLINE else "\n\n.\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def texts_of_template(source: str) -> Iterator[str]:
    """What a template can print: its own text without markup, and the texts inside its expressions."""
    tree = Environment().parse(source)
    reader = _Texts()
    reader.feed("".join(node.data for node in tree.find_all(nodes.TemplateData)))
    yield "".join(reader.parts)
    yield from (node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str))


def texts_of_module(source: str) -> Iterator[str]:
    """The strings of a module but its docstrings; what is put into an f-string is an X."""
    tree = ast.parse(source)
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and node not in statements and id(node) not in inside:
            yield from [node.value] if isinstance(node.value, str) else []


TEMPLATES = sorted(path for path in templates_dir().glob("*.j2") if not path.name.endswith((".css.j2", ".js.j2")))
MODULES = [Path(module.__file__ or "") for module in (wording, verbal, conditions, custody)]


def shown(found: tuple[Problem, ...], text: str) -> str:
    return "\n".join(
        f"{p.phrase!r} in {' '.join(text[max(0, p.span[0] - 60) : p.span[1] + 40].split())!r}: {p.why} Instead, "
        f"{p.suggestion}"
        for p in found
    )


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_says_what_a_report_must_not(path: Path) -> None:
    for text in texts_of_template(path.read_text(encoding="utf-8")):
        assert not (found := problems(text)), shown(found, text)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_no_sentence_of_the_code_says_it(path: Path) -> None:
    texts = list(texts_of_module(path.read_text(encoding="utf-8")))
    assert len(texts) > 5
    for text in texts:
        assert not (found := problems(text)), shown(found, text)


def test_the_tests_above_can_fail() -> None:
    """A forbidden sentence is found wherever it can stand in a template or a module."""
    template = (templates_dir() / "report.html.j2").read_text(encoding="utf-8")
    for words in (
        "<p>It is <strong>authentic</strong>.</p>",
        "{% if document.note %}{{ 'It is authentic.' }}{% endif %}",
        '<svg aria-label="an authentic recording"></svg>',
        "<p>It is\n{% if x %}authentic{% endif %}</p>",
    ):
        changed = template.replace("</main>", words + "</main>")
        assert any(problems(text) for text in texts_of_template(changed)), words
    assert [text for text in texts_of_module('"""authentic"""\nX = f"{y} is authentic"') if problems(text)] == [
        "X is authentic"
    ]
