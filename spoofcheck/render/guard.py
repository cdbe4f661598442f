"""What a report must never say, found in English text: the words of templates, and the examiner's own note.

A likelihood ratio weighs findings under two propositions. It cannot carry that a recording is authentic or fake, how
probable either is, who made it, who speaks, or how often the program errs in this case. The rules below look for the
usual wordings of these, whole words, in any case; each comes with what can be said instead. They are no judge of
meaning: a text without a problem may still say too much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from spoofcheck.errors import UsageError
from spoofcheck.render.text import printable


@dataclass(frozen=True, slots=True)
class Problem:
    """A wording that the findings cannot carry.

    Attributes:
        span: first character and the one behind the last, in the text as given.
        phrase: the words.
        why: what is wrong with them, one sentence.
        suggestion: what can be said instead, one sentence.
    """

    span: tuple[int, int]
    phrase: str
    why: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """Patterns of one kind of claim.

    Attributes:
        patterns: any of them is a problem; a blank stands for any run of blanks.
        allowed: longer wordings that say the opposite; what lies inside one is no problem.
        conditional: whether the claim is none inside a clause that begins with "if" or the like.
    """

    patterns: tuple[str, ...]
    why: str
    suggestion: str
    allowed: tuple[str, ...] = ()
    conditional: bool = False


_WEIGHED: Final = "the findings are N times more probable if H1 is true than if H2 is true"
_SUPPORT: Final = "the findings give weak/moderate/strong support for H1 rather than H2 (or H2 rather than H1)"
_NOT: Final = r"(?:not|never|cannot|can't|doesn't|don't|didn't|isn't|neither|nor|no|nothing here|nothing in it)"
_IS: Final = r"(?:is|are|was|were|be|been|being|it's)"
_SURELY: Final = r"(?:(?:\w+ly|an?|the|indeed|all|both|most likely) )*"
_FAKE: Final = (
    r"(?:deep ?fakes?|deep-fakes?|fakes?|faked|forged|forger(?:y|ies)|counterfeit|ai[- ](?:generated|made)|"
    r"synthetic|synthesi[sz]ed|artificial|cloned|computer[- ]generated|manipulated|spoofed)"
)
_REAL: Final = r"(?:real|original|untouched|unmanipulated)"
_CASE: Final = (
    r"(?:th(?:is|e present|e instant)|our) (?:case|exhibit|recording|examination|result|conclusion|clip|file)"
)

_RULES: Final = (
    _Rule(
        (r"(?:in|un)?authentic(?:ity|ated|ally|ation)?", r"genuine(?:ly|ness)?"),
        "Nothing that was measured shows that a recording is what it claims to be.",
        f"say 'live human speech (H2)' or 'bona fide' for the proposition, and: {_SUPPORT}",
        conditional=True,
    ),
    _Rule(
        (
            r"(?<![\d.,])100 ?%",
            r"(?<![\d.,])100 per ?cent",
            r"(?:a|one) hundred per ?cent",
            r"with (?:absolute |full |complete |near |virtual )?certainty",
            r"(?:absolutely|completely|fully|entirely|virtually|practically) (?:certain|sure)",
            r"beyond (?:any|all|a|reasonable|a reasonable)(?: reasonable)? doubts?",
            r"(?:without|no) (?:a |any )?doubt",
            r"undoubtedly|indisputabl[ey]|unquestionabl[ey]|irrefutabl[ey]|definitely|conclusively",
        ),
        "Findings support one proposition over another; they never reach certainty.",
        f"give the step of the verbal scale: {_SUPPORT}",
        allowed=(
            rf"{_NOT} (?:\w+ )?(?:with certainty|conclusively|definitely|beyond [a-z ]*doubt)",
            "50 % is chance, 100 % a clean separation",  # of the AUROC of open-set tracing
        ),
    ),
    _Rule(
        (rf"{_IS} {_SURELY}{_FAKE}(?! \w+ or human| or human)", r"deep ?fake detected", r"fake detected"),
        "What a recording is, is for the court; the findings only weigh two propositions.",
        f"say: {_SUPPORT}",
        conditional=True,
    ),
    _Rule(
        (rf"{_IS} {_SURELY}{_REAL}(?! time)", r"(?:un|never )(?:edited|altered|tampered(?: with)?)"),
        "Only synthetic speech was looked for: finding none does not show that a recording was left as it was.",
        "say: the findings support H2 over H1; other edits than speech synthesis were not examined",
        conditional=True,
    ),
    _Rule(
        (
            r"no (?:signs?|traces?|evidence|indications?) of (?:any )?(?:fakes?|faking|edit(?:ing|s)?|tampering|"
            r"manipulation|alteration|forgery|synthesis|synthetic speech)",
            r"(?:not|no) (?:been |be )?(?:fakes? (?:was |were )?found|tampered with|manipulated|doctored|edited)",
            r"free (?:of|from) (?:edits?|editing|tampering|manipulation)",
            r"integrity (?:is|was) (?:confirmed|verified|intact)",
        ),
        "Only synthetic speech was looked for: finding none does not show that a recording was left as it was.",
        "say: the findings support H2 over H1; other edits than speech synthesis were not examined",
    ),
    _Rule(
        (
            r"probabilit(?:y|ies) (?:that|of (?:it|the (?:clip|recording|speech|voice|file|exhibit)) being)",
            r"probabilit(?:y|ies) of (?:(?:being )?(?:fake|spoof|synthetic|human|real|deep ?fake|origin)|H[12])",
            r"(?:chances?|odds|likelihood) (?:that|of (?:it|the \w+) being|are)",
            r"probable that",
            rf"(?:probably|(?:very |most |highly |more |quite )?(?:un)?likely) (?:an? |to be |that )*{_FAKE}",
            r"(?:probably|(?:very |most |highly |more |quite )?(?:un)?likely) (?:an? |to be |that )*(?:human|real)",
            r"\d+(?:[.,]\d+)? ?% (?:probab\w+|chance|likel\w+|sure|certain\w*|fake|synthetic|human|real|AI)",
        ),
        "How probable a proposition is depends on all that is known of the case, not on the signal alone.",
        f"say: {_WEIGHED}",
        allowed=(rf"{_NOT} (?:an? |the )?probabilit(?:y|ies) (?:that|of \w+)",),
    ),
    _Rule(
        (
            r"confidences?(?! intervals?| levels?| limits?| bands?| regions?)",
            r"confident(?:ly)?",
            r"(?:we|I) (?:am|are) (?:\w+ )?(?:sure|certain)",
        ),
        "A network's output is no confidence: softmax values compare classes with each other and always sum to 1.",
        "name the measure: 'LLR', or 'similarity (softmax, relative among the enrolled sources)'",
        allowed=(rf"{_NOT} (?:\w+ ){{0,3}}confidences?",),
    ),
    _Rule(
        (
            r"(?:made|generated|created|produced|synthesi[sz]ed|cloned|faked|forged) (?:by|with|using|through|on)"
            r"(?! (?:an?|any|some|no|one|which|what|whom?|whose|hand|it|itself|them|another|several|other|the same|"
            r"known|unknown|spoofcheck|different|these|those|such|this version|python|docs)(?!\w))",
            r"is the work of",
            r"(?:stems?|originates?|comes?|came) from (?:the )?(?:generator|system|vendor|service|company|tool)",
            r"the (?:generator|system|source|tool) used (?:is|was)(?! (?:not|unknown)(?!\w))",
        ),
        "Likeness to the enrolled sources is all that is measured; another source may sound the same.",
        "say: more similar to X than to the other N enrolled sources",
        conditional=True,
    ),
    _Rule(
        (
            r"rul(?:es?|ed|ing) out",
            r"(?:excludes?|excluded|excluding) (?:all|any|every|the possibility|that)",
            r"no other (?:source|system|generator|tool)",
            r"(?:can|could) only (?:be|have been|come)",
        ),
        "Sources and explanations that were not examined are not excluded by the findings.",
        "name what was compared: the N enrolled sources, or H1 and H2",
        allowed=(r"(?:can|could)(?:not|n't) be ruled out", rf"{_NOT} (?:\w+ )?(?:exclude|rule out)[^.;]*"),
    ),
    _Rule(
        (
            r"(?:voice|speech|speaker|caller) (?:is|was) (?:that|the voice|the speech) of",
            r"spoken by(?! (?:an?|one|some|any|no|whom?|several)(?!\w))",
            r"(?:speaker|caller|voice) (?:is|was) (?:identified|recogni[sz]ed)",
            r"identified as the (?:speaker|voice|caller)",
            r"(?:voice|speech) belongs to",
            r"the (?:speaker|caller) (?:is|was)(?! (?:not|an?|one|unknown)(?!\w))",
            r"in order to (?:deceive|mislead|defraud|impersonate)",
            r"(?:intent(?:ion)?|meant|intended|tr(?:y|ying|ied)|attempt(?:s|ed)?) to "
            r"(?:deceive|mislead|defraud|impersonate)",
            r"fraudulent(?:ly)?|malicious(?:ly)?",
        ),
        "Who speaks, and why a recording was made, was not examined.",
        "leave it out, or say whose statement it is (for example 'according to the client')",
        allowed=(r"(?:said|stated|claimed|alleged)(?: by [^.;]{1,60})? to be spoken by", r"according to [^.;]*"),
    ),
    _Rule(
        (
            r"(?:dis)?prov(?:e|es|ed|en|ing)",
            r"proofs?",
            r"establish(?:es|ed)? (?:that|beyond|whether)",
            r"(?:demonstrat|confirm|show|reveal)(?:s|es|ed)? that (?:the|this|it|they|these) "
            r"(?:recordings?|speech|voices?|clips?|audio|exhibits?|speaker|file|call|is|are|was|were)",
            r"confirms? (?:the )?(?:authenticity|forgery|fake|synthesis)",
            r"it is (?:a )?fact that",
        ),
        "Findings support a proposition to a degree; they prove nothing.",
        f"say: {_SUPPORT}",
        allowed=(
            rf"{_NOT} (?:\w+ ){{0,2}}(?:(?:dis)?prov(?:e|es|ed|en|ing)|proofs?)",
            rf"{_NOT} (?:\w+ )?(?:demonstrates?|confirms?|shows?|reveals?|establish(?:es)?) that (?:\w+ ?){{2}}",
            "must not be used for - To prove, alone, that",  # of model cards
        ),
    ),
    _Rule(
        (
            rf"(?:error rates?|EER|FPR|FNR|accuracy|error) (?:of|for|in) {_CASE}",
            rf"{_CASE} (?:has|carries|comes with) (?:an? )?(?:error rate|EER|accuracy|error)",
            r"(?:chance|risk|probability|rate) (?:of|that) (?:an? |the |this )*(?:\w+ )?(?:error|mistake|wrong|"
            r"(?:result|conclusion|verdict) is (?:wrong|false|mistaken))",
            r"(?:is|are) (?:right|correct|accurate|reliable|wrong) (?:in )?\d+(?:[.,]\d+)? ?%",
            r"\d+(?:[.,]\d+)? ?% (?:accurate|accuracy|reliable|correct|error-free)",
        ),
        "An error rate is an average over the trials of a data set; it is not that of a single case.",
        "say: 'on the data set named, the EER was ...', and that it does not carry over to one exhibit",
        allowed=(
            rf"(?:{_NOT}|none) (?:of (?:these|them) (?:is|are) )?(?:\w+ ){{0,2}}"
            rf"(?:error rates?|EER) (?:of|for|in) {_CASE}",
        ),
    ),
    _Rule(
        (
            r"exact(?:ly)? (?:at|from) \d",
            r"exact (?:moment|positions?|times?|seconds?|start|end|boundar(?:y|ies))",
        ),
        "Positions are no finer than the window of the model.",
        "say: 'in the windows from ... to ...'",
        allowed=(rf"{_NOT} (?:\w+ ){{0,3}}exact(?:ly)? \w+",),
    ),
)

_CONDITION: Final = re.compile(
    r"\b(?:if|whether|unless|supposing|assuming|propositions?)\b[^.;!?]*$",
    re.IGNORECASE,
)
"""What makes a claim a condition, up to the claim and within its sentence."""

_DENIAL: Final = re.compile(
    rf"\b{_NOT}\s+(?:\w+\s+){{0,3}}(?:says?|said|shows?|shown|means?|states?|claims?|findings?|statements?|concludes?|"
    r"proves?|proofs?|evidence|probability)\b[^.,;:!?]*$",
    re.IGNORECASE,
)
"""What says that a claim is not made, up to the claim and within its clause."""

_CLAUSE_CHARS: Final = 300
"""A sentence that began further back does not excuse a claim."""


def _compiled(pattern: str) -> re.Pattern[str]:
    spaced = pattern.replace(" ?", r"\s*").replace(" ", r"\s+")
    return re.compile(rf"(?<!\w)(?:{spaced})(?!\w)", re.IGNORECASE)


_COMPILED: Final = tuple(
    (
        rule,
        tuple(_compiled(pattern) for pattern in rule.patterns),
        tuple(_compiled(pattern) for pattern in rule.allowed),
    )
    for rule in _RULES
)


def problems(text: str) -> tuple[Problem, ...]:
    """Wordings of `text` that a report must never use, in the order in which they stand; overlapping ones once.

    Args:
        text: plain English, no markup; apostrophes may be straight or curly.
    """
    plain = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    found = sorted(_found(plain, text), key=lambda problem: (problem.span[0], -problem.span[1]))
    kept: list[Problem] = []
    for problem in found:
        if not kept or problem.span[0] >= kept[-1].span[1]:
            kept.append(problem)
    return tuple(kept)


def _found(plain: str, text: str) -> Iterator[Problem]:
    for rule, patterns, allowed in _COMPILED:
        spans = [match.span() for pattern in patterns for match in pattern.finditer(plain)]
        waived = [match.span() for pattern in allowed for match in pattern.finditer(plain)] if spans else []
        for start, end in spans:
            if any(first <= start and end <= last for first, last in waived):
                continue
            before = plain[max(0, start - _CLAUSE_CHARS) : start]
            if _DENIAL.search(before) or (rule.conditional and _CONDITION.search(before)):
                continue
            yield Problem((start, end), text[start:end], rule.why, rule.suggestion)


def check_note(text: str) -> None:
    """Refuse a note that says what a report must never say.

    Raises:
        UsageError: names the first such wording, why, and what can be said instead.
    """
    found = problems(text)
    if not found:
        return
    first = found[0]
    phrase = printable(" ".join(first.phrase.split()))
    more = f"; also {', '.join(_quoted(problem) for problem in found[1:6])}" if len(found) > 1 else ""
    raise UsageError(f"--note: '{phrase}' is more than a report can say. {first.why} Instead, {first.suggestion}{more}")


def _quoted(problem: Problem) -> str:
    return f"'{printable(' '.join(problem.phrase.split()))}'"
