# pip install -e ".[offline]" langchain-openai && OPENAI_API_KEY=... python examples/langchain_rag.py
"""Retrieval with LangChain: an answer is served as long as the same documents, in the same versions, are found."""

from __future__ import annotations

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI

import recallm
from recallm import FastEmbedEmbedder, semantic_cache


class LocalEmbeddings(Embeddings):
    """The offline model of recallm, for LangChain; use your own embeddings and vector store instead."""

    def __init__(self) -> None:
        self.embedder = FastEmbedEmbedder.offline()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        return [float(each) for each in self.embedder.embed(text)]


store = InMemoryVectorStore(LocalEmbeddings())
chain = (
    ChatPromptTemplate.from_template("Answer from these documents:\n{documents}\n\nQuestion: {question}")
    | ChatOpenAI(model="gpt-4o-mini")
    | StrOutputParser()
)


@semantic_cache(
    # Which documents, and which versions of them; not the order in which they were found.
    context=lambda kw: {"documents": {doc.id: doc.metadata["version"] for doc in kw["documents"]}},
    ignore=("documents",),
)
def answer(question: str, documents: list[Document]) -> str:
    """Answer a question from documents."""
    text = "\n".join(doc.page_content for doc in documents)
    return chain.invoke({"documents": text, "question": question})


def ask(question: str) -> str:
    """Find documents, always anew, and answer from them."""
    return answer(question, store.similarity_search(question, k=2))


def put(name: str, version: int, text: str) -> None:
    """Add a document, or another version of it."""
    store.add_documents([Document(id=name, page_content=text, metadata={"version": version})])


def main() -> None:
    """Ask in other words, then change a document and ask again."""
    put("refunds", 1, "Refunds are paid within 30 days.")
    put("returns", 1, "A refund needs the receipt.")
    put("opening", 1, "The shop in Oslo opens at nine.")

    print(ask("How do I get a refund?"))
    print(ask("How can I get a refund?"))  # from the cache
    put("refunds", 2, "Refunds are paid within 14 days.")
    print(ask("How can I get a refund?"))  # another version: asks the model
    print(recallm.stats())


if __name__ == "__main__":
    main()
