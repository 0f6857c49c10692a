"""Prompts in another language than English: what the guards refuse and let through, with and without accents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm import DEFAULT_GUARDS
from recallm.guards.evidence import Evidence
from recallm.guards.foreign import are_foreign, compare_foreign
from recallm.guards.language import unaccented
from recallm.guards.prompt import parse

DIFFERENT: list[tuple[str, str, Evidence | None]] = [
    ("Warum sind manche Beeren giftig?", "Warum sind manche Beeren ungiftig?", Evidence.SPECIAL_EXCHANGE),
    ("Comment s'abonner à la revue ?", "Comment se désabonner de la revue ?", Evidence.SPECIAL_EXCHANGE),
    ("Écris une carte pour Julie.", "Écris une carte pour Julien.", Evidence.SPECIAL_EXCHANGE),
    ("如何打开通知？", "如何关闭通知？", Evidence.SPECIAL_EXCHANGE),
    ("北京明天会下雨吗", "上海明天会下雨吗", Evidence.SPECIAL_EXCHANGE),
    ("如何学习英语？", "如何快速学习英语？", Evidence.SPECIAL_INSERTION),
    ("从北京到上海的火车", "从上海到北京的火车", Evidence.ORDER_OF_NAMES),
    ("谁打败了罗马？", "罗马打败了谁？", Evidence.ORDER_OF_NAMES),
    ("東京から大阪までの電車", "大阪から東京までの電車", Evidence.ORDER_OF_NAMES),
    ("通知をオンにする方法は？", "通知をオフにする方法は？", Evidence.SPECIAL_EXCHANGE),
    ("Fliegt die Bahn nach Oslo oder fährt sie?", "Fliegt die Bahn aus Oslo oder fährt sie?", Evidence.OPPOSITES),
    ("Comment envoyer un colis vers la Suisse ?", "Comment envoyer un colis depuis la Suisse ?", Evidence.OPPOSITES),
    ("Darf ich Pilze aufwärmen?", "Darf ich Pilze nicht aufwärmen?", Evidence.NEGATION),
    ("¿Por qué arranca el coche?", "¿Por qué no arranca el coche?", Evidence.NEGATION),
    ("Pourquoi ma voiture démarre ?", "Pourquoi ma voiture ne démarre pas ?", Evidence.NEGATION),
    ("Posso mangiare prima del volo?", "Non posso mangiare prima del volo?", Evidence.NEGATION),
    ("O que posso comer à noite?", "O que não posso comer à noite?", Evidence.NEGATION),
    ("Mag mijn hond druiven eten?", "Mag mijn hond geen druiven eten?", Evidence.NEGATION),
    ("Czy mogę to zwrócić?", "Czy nie mogę tego zwrócić?", Evidence.NEGATION),
    ("Varför startar bilen?", "Varför startar bilen inte?", Evidence.NEGATION),
    ("Miksi auto käynnistyy?", "Miksi auto ei käynnisty?", Evidence.NEGATION),
    ("Bu mantar zehirli mi?", "Hangi mantar zehirli değil?", Evidence.NEGATION),
    ("Почему машина заводится?", "Почему машина не заводится?", Evidence.NEGATION),
    ("我能吃这个吗", "我不能吃这个吗", Evidence.NEGATION),
    ("Kaffee mit Zucker zubereiten: wie?", "Kaffee ohne Zucker zubereiten: wie?", Evidence.NEGATION),
    ("Wie kann ich das Fenster öffnen?", "Wie kann ich das Fenster schließen?", Evidence.OPPOSITES),
    ("¿Cómo activo el modo oscuro?", "¿Cómo desactivo el modo oscuro?", Evidence.OPPOSITES),
    ("Que faire avant l'opération ?", "Que faire après l'opération ?", Evidence.OPPOSITES),
    ("Hur mycket väger två påsar?", "Hur mycket väger fyra påsar?", Evidence.OPPOSITES),
    ("Ist der Laden am Montag offen?", "Ist der Laden am Freitag offen?", Evidence.OPPOSITES),
    ("Wer hat das Telefon erfunden?", "Wann wurde das Telefon erfunden?", Evidence.OPPOSITES),
    ("¿Cuánto dura una gripe en los perros?", "¿Cuánto dura una gripe en los caballos?", Evidence.SPECIAL_EXCHANGE),
    (
        "Quels sont les meilleurs vins de Murcie ?",
        "Quels sont les meilleurs vins de Rioja ?",
        Evidence.SPECIAL_EXCHANGE,
    ),
    ("Wie komme ich von Bonn nach Ulm?", "Wie komme ich von Ulm nach Bonn?", Evidence.ORDER_OF_NAMES),
    ("Traduis de l'italien vers le français", "Traduis du français vers l'italien", Evidence.ORDER_OF_NAMES),
    ("¿El perro muerde al gato?", "¿El gato muerde al perro?", Evidence.ORDER_OF_NAMES),
    ("Ist Parken hier kostenlos?", "Ist Parken hier sonntags kostenlos?", Evidence.SPECIAL_INSERTION),
    ("Wie backe ich Brot", "Wie backe ich Brot mit Quellen", Evidence.SPECIAL_INSERTION),
    ("Nenne die Planeten.", "Nenne die Planeten für Kinder.", Evidence.SPECIAL_INSERTION),
    ("Escribe un poema sobre el otoño", "Escribe un poema sobre el otoño en inglés", Evidence.SPECIAL_INSERTION),
    ("quiero cancelar mi cuenta", "quiero cancelar mi cuenta conjunta", Evidence.SPECIAL_INSERTION),
    ("Recette de soupe pour le soir", "Recette de soupe pour le soir en hiver", Evidence.SPECIAL_INSERTION),
    ("Haluan leipoa leipää", "Haluan leipoa leipää käsin", Evidence.SPECIAL_INSERTION),
    ("ein Hotel in der Stadt", "ein Hotel in der Stadt mit Garten", Evidence.SPECIAL_INSERTION),
    ("Ein Rezept für Suppe.", "Ein Rezept für Suppe mit Eis.", Evidence.SPECIAL_INSERTION),
    ("Un poème sur la mer.", "Un poème sur la mer en anglais.", Evidence.SPECIAL_INSERTION),
    ("Ein Kind lacht.", "Ein Kind lacht und tanzt.", Evidence.SPECIAL_INSERTION),
    ("Welche Städte haben Bus und Bahn?", "Welche Städte haben Bus oder Bahn?", Evidence.OPPOSITES),
    ("¿Qué postre lleva leche y huevo?", "¿Qué postre lleva leche o huevo?", Evidence.OPPOSITES),
    ("Quel dessert contient du lait et des œufs ?", "Quel dessert contient du lait ou des œufs ?", Evidence.OPPOSITES),
    ("Warum haben viele Vögel Flöhe?", "Warum haben wenige Vögel Flöhe?", Evidence.OPPOSITES),
    ("¿Por qué hay muchos médicos aquí?", "¿Por qué hay pocos médicos aquí?", Evidence.OPPOSITES),
    ("Pourquoi dort-il beaucoup ?", "Pourquoi dort-il peu ?", Evidence.OPPOSITES),
    ("Miksi monta lasta nukkuu huonosti?", "Miksi harvat lapset nukkuu huonosti?", Evidence.OPPOSITES),
    ("Liegt das Kabel unter dem Haus?", "Liegt das Kabel neben dem Haus?", Evidence.OPPOSITES),
    ("Que mettre devant la maison ?", "Que mettre derrière la maison ?", Evidence.OPPOSITES),
    ("¿Qué hay delante del banco?", "¿Qué hay detrás del banco?", Evidence.OPPOSITES),
    ("Mitä on sohvan alla?", "Mitä on sohvan päällä?", Evidence.OPPOSITES),
    ("Wer ruft Anna an?", "Wen ruft Anna an?", Evidence.OPPOSITES),
    ("Finde ein billiges Hotel", "Finde das billigste Hotel", Evidence.SPECIAL_EXCHANGE),
    ("Hur hittar jag en billig resa?", "Hur hittar jag billigaste resan?", Evidence.SPECIAL_EXCHANGE),
    ("¿Qué hotel es barato?", "¿Qué hotel es más barato?", Evidence.RESTRICTION),
    ("Je cherche un vélo cher", "Je cherche un vélo moins cher", Evidence.RESTRICTION),
    ("Guten Morgen auf Spanisch", "Guten Abend auf Spanisch", None),
    ("Erkläre die Relativitätstheorie.", "Erkläre die Relativitätstheorie kurz.", Evidence.RESTRICTION),
    ("Habla de la guerra civil.", "Habla brevemente de la guerra civil.", Evidence.RESTRICTION),
    ("Donne-moi trois idées de menu.", "Donne-moi cinq idées de menu.", Evidence.OPPOSITES),
    ("Kündige ich in 30 Tagen?", "Kündige ich in 90 Tagen?", None),
    ("Was macht `grep -v`?", "Was macht `grep -r`?", None),
]

SAME = [
    ("怎么修改密码？", "请问如何更改我的密码？"),
    ("北京今天天气怎么样？", "今天北京的天气如何？"),
    ("北京和上海的区别", "上海和北京的区别"),
    ("iPhone怎么截图？", "如何在iPhone上截图？"),
    ("Welche Zahlungsarten akzeptieren Sie?", "Welche Zahlungsmethoden werden akzeptiert?"),
    ("¿Cuánto cuesta el plan premium?", "¿Qué precio tiene el plan premium?"),
    ("Comment supprimer mon compte ?", "Comment puis-je effacer mon compte ?"),
    ("Como posso alterar minha senha?", "Como faço para mudar minha senha?"),
    ("Wie kündige ich mein Abo?", "Auf welchem Weg kann ich mein Abonnement kündigen?"),
    ("Wie ist in Tokio das Wetter?", "Wie ist das Wetter in Tokio?"),
    ("Vergleiche Tee und Kaffee", "Vergleiche Kaffee und Tee"),
    ("Das ist giftig, nicht wahr?", "Das ist giftig?"),
    ("Ein Kind lacht.", "Ein kleines Kind lacht."),
    ("Une femme chante.", "Une femme chante dans une rue."),
    ("Guten Morgen, wie kündige ich mein Abo?", "Wie kündige ich mein Abo?"),
    ("¡Buenos días! ¿Cómo cancelo mi pedido?", "¿Cómo cancelo mi pedido?"),
    ("Bom dia, como cancelo meu pedido?", "Como cancelo meu pedido?"),
    ("Wer hat das Telefon erfunden?", "Von wem wurde das Telefon erfunden?"),
    ("haluan perua tilaukseni", "haluaisin perua tilaukseni"),
    ("Wo liegen die teuersten Wohnungen?", "Wo liegt die teuerste Wohnung?"),
    ("Bu mantar zehirli mi?", "Bu mantar zehirli değil mi?"),
    ("Bitte sag mir, wo ich meine Rechnungen finde", "wo finde ich meine rechnung"),
    ("¿Cómo puedo cancelar mi pedido?", "¿De qué manera puedo cancelar mi pedido?"),
    ("como cancelo mi pedido", "¿Cómo cancelo mi pedido?"),
    ("Compara el té y el café", "Compara el café y el té"),
    ("Comment calculer le périmètre d'un cercle ?", "Comment calcule-t-on le périmètre d'un cercle ?"),
    ("Que visiter à Rome en deux jours ?", "Que peut-on visiter à Rome en 2 jours ?"),
    ("Ça ne marche pas", "ça marche pas"),
    ("Miten vaihdan salasanani?", "Kuinka salasanan voi vaihtaa?"),
    ("Jak działa ten aparat?", "Jak działa aparat?"),
    ("Hoe wijzig ik mijn wachtwoord?", "Hoe kan ik mijn wachtwoord wijzigen?"),
    ("这个有没有毒", "这个有毒吗"),
]


def refusing(prompt: str, cached_prompt: str) -> list[str]:
    """Return the names of the default guards that refuse."""
    return [guard.__name__ for guard in DEFAULT_GUARDS if not guard(prompt, cached_prompt)]


@pytest.mark.parametrize(("one", "other", "evidence"), DIFFERENT)
def test_prompts_that_ask_something_else_are_refused(one: str, other: str, evidence: Evidence | None) -> None:
    """A negation, an exclusion, an exchange, an insertion or another order is evidence, with and without accents."""
    assert refusing(one, other)
    assert refusing(other, one)
    if evidence is not None:
        assert evidence in compare_foreign(one, other).evidence
        assert evidence in compare_foreign(unaccented(one), unaccented(other)).evidence


@pytest.mark.parametrize(("one", "other"), SAME)
def test_prompts_that_ask_the_same_are_let_through(one: str, other: str) -> None:
    """Other function words, forms, free order and rewording are no evidence."""
    assert are_foreign(parse(one), parse(other))
    assert refusing(one, other) == []
    assert refusing(other, one) == []


def test_the_guards_for_english_are_not_asked_about_other_languages() -> None:
    """German nouns have capitals and no English list has its words: neither counts."""
    assert (
        refusing("Wo steht in der App mein aktueller Tarif?", "Wo sehe ich in der App, welchen Tarif ich habe?") == []
    )


def test_the_same_question_in_another_language_is_refused() -> None:
    """An answer in another language than the asker's is a wrong one."""
    asked = "Wie lautet die Hauptstadt von Frankreich?"
    assert refusing(asked, "What is the capital of France?")[0] == "languages_agree"
    assert refusing(asked, "¿Cuál es la capital de Francia?")[0] == "languages_agree"


def test_a_prompt_that_tells_no_language_is_taken_for_one_in_the_others() -> None:
    """A few words without a function word may be in any language."""
    assert are_foreign(parse("Passwort ändern"), parse("Wie kann ich mein Passwort ändern?"))
    assert "languages_agree" not in refusing("Reset", "Wie geht ein Reset?")


WORDS = st.lists(
    st.sampled_from(
        "wie ich nicht kein mit ohne öffnen schließen hund hunde Rom Paris von nach und zwei 2 das der kurz".split()
    ),
    max_size=9,
)


@given(WORDS, WORDS)
def test_the_order_of_two_prompts_changes_sides_only(one: list[str], other: list[str]) -> None:
    """What differs is the same whichever prompt is the stored one."""
    found = compare_foreign(" ".join(one), " ".join(other))
    turned = compare_foreign(" ".join(other), " ".join(one))
    assert (found.evidence, found.weight) == (turned.evidence, turned.weight)
    assert (found.ours, found.theirs) == (turned.theirs, turned.ours)


@given(WORDS, WORDS)
def test_a_question_mark_changes_nothing(one: list[str], other: list[str]) -> None:
    """Most prompts are questions, and many are typed without the mark."""
    asked = compare_foreign(" ".join(one) + "?", " ".join(other) + "?")
    assert asked == compare_foreign(" ".join(one), " ".join(other))


@given(WORDS)
def test_nothing_differs_from_itself(words: list[str]) -> None:
    """Equal prompts have no evidence."""
    assert not compare_foreign(" ".join(words), " ".join(words)).evidence
