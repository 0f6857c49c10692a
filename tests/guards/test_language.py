"""The language of a prompt: told by its words and script, English in doubt, whatever foreign words it asks about."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recallm.guards.language import MOST_WORDS, language_of, unaccented
from recallm.guards.prompt import parse

FOREIGN = [
    ("de", "Wie kündige ich mein Abo?"),
    ("de", "Was ist Photosynthese?"),
    ("de", "Rezept für Apfelkuchen"),
    ("de", "Hauptstadt von Australien"),
    ("de", "Wer hat Faust geschrieben?"),
    ("de", "Passwort vergessen, was tun?"),
    ("de", "Schreib mir ein Gedicht"),
    ("de", "Wie spaet ist es in Tokio?"),
    ("de", "Katze frisst nicht mehr"),
    ("de", "Ist mein Vertrag noch gueltig?"),
    ("de", "Die Katze schläft auf dem Sofa."),
    ("es", "¿Cómo cancelo mi suscripción?"),
    ("es", "que es la fotosintesis"),
    ("es", "Receta de tarta de manzana"),
    ("es", "quien escribio el Quijote"),
    ("es", "Olvidé mi contraseña"),
    ("es", "donde esta Tunez"),
    ("es", "que hora es en Tokio"),
    ("es", "mi gato no come"),
    ("es", "¿Es válido mi contrato?"),
    ("es", "El gato duerme en el sofá."),
    ("fr", "Comment annuler mon abonnement ?"),
    ("fr", "qu'est-ce que la photosynthese"),
    ("fr", "Recette de tarte aux pommes"),
    ("fr", "qui a ecrit Les Misérables"),
    ("fr", "Mot de passe oublié"),
    ("fr", "ou se trouve la Tunisie"),
    ("fr", "Écris-moi un poème"),
    ("fr", "quelle heure est-il à Tokyo"),
    ("fr", "mon chat ne mange plus"),
    ("fr", "Mon contrat est-il valable ?"),
    ("fr", "Le chat dort sur le canapé."),
    ("fi", "Miten peruutan tilaukseni?"),
    ("fi", "mita on fotosynteesi"),
    ("fi", "Omenapiirakan resepti"),
    ("fi", "Mikä on Australian pääkaupunki?"),
    ("fi", "kuka kirjoitti Kalevalan"),
    ("fi", "Unohdin salasanani"),
    ("fi", "missa on Tunisia"),
    ("fi", "Kirjoita minulle runo"),
    ("fi", "paljonko kello on Tokiossa"),
    ("fi", "Onko sopimukseni voimassa?"),
    ("fi", "Kissa nukkuu sohvalla."),
    ("pt", "Como cancelo minha assinatura?"),
    ("pt", "Receita de torta de maçã"),
    ("pt", "quem escreveu Os Lusíadas"),
    ("pt", "Esqueci minha senha"),
    ("pt", "onde fica a Tunisia"),
    ("pt", "Escreva um poema para mim"),
    ("pt", "que horas sao em Toquio"),
    ("pt", "meu gato não come"),
    ("pt", "Meu contrato ainda é válido?"),
    ("it", "Come annullo il mio abbonamento?"),
    ("it", "cos'è la fotosintesi"),
    ("it", "Ricetta della torta di mele"),
    ("it", "chi ha scritto la Divina Commedia"),
    ("it", "Ho dimenticato la password"),
    ("it", "dove si trova la Tunisia"),
    ("it", "che ore sono a Tokyo"),
    ("it", "il mio gatto non mangia"),
    ("it", "Il mio contratto è valido?"),
    ("it", "Il gatto dorme sul divano."),
    ("nl", "Hoe zeg ik mijn abonnement op?"),
    ("nl", "Wat is fotosynthese?"),
    ("nl", "Recept voor appeltaart"),
    ("nl", "hoofdstad van Australië"),
    ("nl", "Wachtwoord vergeten"),
    ("nl", "waar ligt Tunesië"),
    ("nl", "Schrijf een gedicht voor me"),
    ("nl", "hoe laat is het in Tokio"),
    ("nl", "mijn kat eet niet"),
    ("nl", "Is mijn contract nog geldig?"),
    ("nl", "De kat slaapt op de bank."),
    ("pl", "Jak anulować subskrypcję?"),
    ("pl", "co to jest fotosynteza"),
    ("pl", "Przepis na szarlotkę"),
    ("pl", "stolica Australii"),
    ("pl", "kto napisał Pana Tadeusza"),
    ("pl", "Zapomniałem hasła"),
    ("pl", "gdzie lezy Tunezja"),
    ("pl", "Napisz mi wiersz"),
    ("pl", "ktora jest godzina w Tokio"),
    ("pl", "moj kot nie je"),
    ("pl", "Czy moja umowa jest ważna?"),
    ("pl", "Kot śpi na kanapie."),
    ("sv", "Hur säger jag upp mitt abonnemang?"),
    ("sv", "Vad är fotosyntes?"),
    ("sv", "Recept på äppelpaj"),
    ("sv", "Australiens huvudstad"),
    ("sv", "vem skrev Röda rummet"),
    ("sv", "Jag har glömt mitt lösenord"),
    ("sv", "var ligger Tunisien"),
    ("sv", "Skriv en dikt till mig"),
    ("sv", "vad ar klockan i Tokyo"),
    ("sv", "min katt äter inte"),
    ("sv", "Är mitt avtal giltigt?"),
    ("sv", "Katten sover i soffan."),
    ("tr", "Aboneliğimi nasıl iptal ederim?"),
    ("tr", "fotosentez nedir"),
    ("tr", "Elmalı turta tarifi"),
    ("tr", "Avustralya'nın başkenti neresi"),
    ("tr", "Şifremi unuttum"),
    ("tr", "Tunus nerede"),
    ("tr", "Bana bir şiir yaz"),
    ("tr", "Tokyo'da saat kac"),
    ("tr", "Kedi koltukta uyuyor."),
    ("id", "Bagaimana cara membatalkan langganan?"),
    ("id", "apa itu fotosintesis"),
    ("id", "Resep pai apel"),
    ("id", "siapa penulis Laskar Pelangi"),
    ("id", "Saya lupa kata sandi"),
    ("id", "Tulis puisi untuk saya"),
    ("id", "kucing saya tidak mau makan"),
    ("vi", "Làm thế nào để hủy đăng ký?"),
    ("vi", "Quang hợp là gì?"),
    ("vi", "Công thức làm bánh táo"),
    ("vi", "Viết cho tôi một bài thơ"),
    ("vi", "Con mèo của tôi không ăn"),
    ("cs", "kdo napsal Babičku"),
    ("cs", "Napiš mi báseň"),
    ("ro", "Cum îmi anulez abonamentul?"),
    ("ro", "Rețetă de plăcintă cu mere"),
    ("ro", "cine a scris Luceafărul"),
    ("ro", "Scrie-mi o poezie"),
    ("ro", "pisica mea nu mănâncă"),
    ("hu", "Hogyan mondom le az előfizetésemet?"),
    ("hu", "ki írta az Egri csillagokat"),
    ("hu", "Írj nekem egy verset"),
    ("da", "Hvordan opsiger jeg mit abonnement?"),
    ("da", "Hvad er fotosyntese?"),
    ("da", "Skriv et digt til mig"),
    ("no", "Hvordan sier jeg opp abonnementet mitt?"),
    ("no", "Hva er fotosyntese?"),
    ("no", "Oppskrift på eplepai"),
    ("no", "hvem skrev Peer Gynt"),
    ("no", "Skriv et dikt til meg"),
    ("ru", "Как отменить подписку?"),
    ("ru", "что такое фотосинтез"),
    ("ru", "Рецепт яблочного пирога"),
    ("zh", "如何取消订阅？"),
    ("zh", "什么是光合作用"),
    ("ja", "サブスクリプションを解約するには"),
    ("ja", "光合成とは何ですか"),
    ("ko", "구독을 어떻게 취소하나요?"),
    ("ko", "광합성이란 무엇인가요"),
    ("ar", "كيف ألغي اشتراكي؟"),
    ("he", "איך מבטלים מנוי?"),
    ("el", "Πώς ακυρώνω τη συνδρομή μου;"),
    ("hi", "मैं अपनी सदस्यता कैसे रद्द करूँ?"),
    ("th", "ฉันจะยกเลิกการสมัครได้อย่างไร"),
]

ENGLISH = [
    "What does 'Schadenfreude' mean?",
    "translate 'wie geht es dir' into English",
    "translate wie geht es dir into english",
    "best café in München",
    "Los Angeles weather",
    "who is van Gogh",
    "El Niño effects",
    "how do you say ich möchte ein Bier in German",
    "meaning of c'est la vie",
    "Beyoncé tour dates",
    "Le Monde subscription",
    "Angela Merkel",
    "São Paulo hotels",
    "python list sort",
    "pay rent",
    "i forgot my password",
    "what is 我爱你",
    "define déjà vu",
    "La La Land cast",
    "Don Quixote summary",
    "war and peace",
    "Das Boot review",
    "au pair salary",
    "con man movies",
    "pro and con list",
    "sin and redemption",
    "men at war",
    "hat trick",
    "gift for mom",
    "a la carte menu",
    "sans serif fonts",
    "per se meaning",
    "et al meaning",
    "de facto standard",
    "San Jose to Las Vegas",
    "en route",
    "bon voyage",
    "die cast cars",
    "El Paso time",
    "Rio de Janeiro carnival",
    "Tour de France 2023",
    "Coeur d'Alene Idaho",
    "Sri Lanka visa",
    "Mi casa",
    "note to self",
    "translate to spanish: where is the bathroom",
    "conjugate ser in Spanish",
    "difference between por and para",
    "difference between ser and estar",
    "para vs por",
    "when to use der die das",
    "ikea billy bookcase",
    "hej meaning swedish",
]


@pytest.mark.parametrize(("code", "prompt"), FOREIGN)
def test_a_short_prompt_tells_its_language(code: str, prompt: str) -> None:
    """A few words are enough, with and without accents, if one of them is a function word or the script tells."""
    assert parse(prompt).language.code == code


@pytest.mark.parametrize("prompt", ENGLISH)
def test_english_stays_english_whatever_it_is_about(prompt: str) -> None:
    """Names and words of other languages, quoted or not, make no English prompt a foreign one."""
    assert parse(prompt).language.code == "en"


@pytest.mark.parametrize("prompt", ["", "42", "x = y + z", "E404", "🎉", "ok", "AB-12 CD-34", "café", "m²"])
def test_without_evidence_a_prompt_counts_as_english_but_not_surely(prompt: str) -> None:
    """What has no words of any language is treated with the guards that refuse most."""
    assert parse(prompt).language == ("en", False)


def test_a_prompt_that_is_all_quotation_tells_by_what_it_quotes() -> None:
    """Quoted words count only where there are no others."""
    assert parse('"Wie kann ich mein Passwort ändern?"').language.code == "de"
    assert parse('Was heißt "how do you do"?').language.code == "de"


def test_a_language_is_sure_if_the_others_have_clearly_less_evidence() -> None:
    """Words that several languages share tell that a prompt is not English, but not what it is."""
    assert language_of("wie kann ich das ändern".split()).is_sure
    assert not language_of("a la de un".split()).is_sure
    assert not language_of("como o gato".split()).is_sure


def test_a_long_prompt_is_told_by_its_beginning() -> None:
    """No more than so many words are read."""
    words = ["wort"] * MOST_WORDS + ["hvordan", "kan", "jeg"] * 100
    assert language_of(words) == language_of(words[:MOST_WORDS])


@given(st.lists(st.text(min_size=1)))
def test_any_words_have_a_language(words: list[str]) -> None:
    """Whatever the words are, there is an answer."""
    assert language_of(words).code


@given(st.text())
def test_a_word_without_accents_stays_as_it_is(word: str) -> None:
    """To leave out accents twice changes nothing."""
    assert unaccented(unaccented(word.lower())) == unaccented(word.lower())
