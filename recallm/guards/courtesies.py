"""Courtesies of a prompt: greetings, thanks, excuses and signatures, which ask for nothing."""

from __future__ import annotations

from recallm.guards.patterns import compiled

_ADDRESSEE = (
    r"(?: (?:there|all|again|everyone|everybody|team|folks|guys|friends?|people|community|experts?|support|service"
    r"|customer|care|helpdesk|staff|sirs?|madam|mam|or|and|doctors?|doc|professor|teacher|assistant|claude|chatgpt|gpt"
    r"|gemini|copilot|siri|alexa|bot|ai|buddy|mate|bro|dude)\b)"
)
_GREETING = (
    r"(?i)\W{0,9}(?:(?:hi|hiya|hello|hey|howdy|greetings|dear|good (?:morning|afternoon|evening|day))\b"
    rf"(?:{_ADDRESSEE}+\s{{0,3}}[,.!:;\u2013\u2014-]{{0,3}}|\s{{0,3}}[,.!:;\n\u2013\u2014-]{{1,3}})\s*)+"
)
"""What a prompt begins with: whom it greets is one of these, as a name may be what is asked about."""

_SIGNATURE = (
    r"(?i)(?<=[.!?,\n])[ \n]{0,3}(?:(?:(?:kind|best|warm|warmest|many) )?regards|(?:best|warm|kind) wishes|sincerely|"
    r"yours (?:truly|sincerely|faithfully)|all the best|best(?=,\s*\w)|take care|"
    r"have a (?:nice|good|great|lovely) (?:day|evening|weekend|week|one))(?:[ ,.!\n]{1,4}\w{1,20}){0,2}[ ,.!\n]{0,4}\Z"
)
_SIGNED = ("regards", "wishes", "sincerely", "yours", "all the best", "best,", "take care", "have a ")
"""A prompt has one of these if a `_SIGNATURE` is in it."""

_WORRY = (
    r"(?i)\bi\s{1,3}(?:am )?(?:(?:quite|very|really|so|a bit|a little|getting|rather|pretty|extremely|totally) )*"
    r"(?:worried|concerned|desperate|confused|frustrated|stuck|new here)(?=\s*[.!,;])"
)
_WORRIED = ("worried", "concerned", "desperate", "confused", "frustrated", "stuck", "new ")

_COURTESIES = (
    r"(?i)\bif (?:it|that)(?: i)?s not (?:too much )?(?:of )?(?:a )?(?:trouble|bother|to ask)\b"
    r"|\bif (?:you do not mind|you can|you could|possible)\b|\b(?:would|could|do|can) you mind\b"
    r"|\b(?:thanks|thank you|thx|ty|tysm|tyvm|tia|cheers)\b(?: you)?"
    r"(?: so much| very much| a lot| a bunch| in advance)*"
    r"|\b(?:no|there is no) (?:rush|hurry|worries)\b|\bsorry (?:to|for) (?:bother|disturb)(?:ing)? you\b"
    r"|\bwhen(?:ever)? you (?:get|have) (?:a|the|some) (?:chance|moment|minute|sec|second|time)\b"
    r"|\b(?:i would |i )?(?:really |much |greatly )?appreciate (?:it|(?:any|your|the) (?:help|advice|tips))\b"
    r"|\bhope you are (?:doing )?(?:well|fine|good)\b|\bor not(?=\W*$)|\bquick question\b"
)
_COURTEOUS = (
    "if ", "you mind", "thank", "thx", "ty", "tia", "cheers", "rush", "hurry", "worries", "sorry", "when", "appreciate",
    "hope you", "or not", "quick question",
)  # fmt: skip
"""A prompt has one of these if `_COURTESIES` are in it."""


def without_courtesies(prompt: str) -> str:
    """Return a prompt without its courtesies; contractions in it are expanded already.

    >>> without_courtesies("Hi team, how do I pay? Kind regards, Ann")
    'how do I pay? '
    """
    greeting = compiled(_GREETING).match(prompt)
    if greeting:
        prompt = prompt[greeting.end() :]
    # To look for a text is far faster than to look for a pattern.
    folded = prompt.casefold()
    for texts, pattern in ((_COURTEOUS, _COURTESIES), (_SIGNED, _SIGNATURE), (_WORRIED, _WORRY)):
        if any(map(folded.__contains__, texts)):
            prompt = compiled(pattern).sub(" ", prompt)
    return prompt
