"""Responses to bytes and back, with their types. Pure: nothing that was stored is imported or executed.

`codec` is the format; `builtin_types` takes apart the built-in types that JSON lacks, `moments` dates and times,
`library_types` and `arrays` the values of libraries, and `classes` instances of dataclasses, named tuples, pydantic
models, attrs and msgspec. `known` says which class a path means (`lookup` follows it), `annotations` which ones a
function may return, `bounds` how much work a payload may ask for, and `refusals` what cannot be stored and where it
lies. `writing` and `reading` put them together. The flow encodes before it stores and decodes before it serves.

To add a type, add a row to `builtin_types.TYPES` or `library_types.ROWS`; to add a kind of class, a subclass of
`ClassCodec`.
"""

from recallm.codec.codec import Codec

__all__ = ["Codec"]
