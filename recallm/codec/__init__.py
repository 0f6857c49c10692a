"""Responses to bytes and back, with their types. Pure: nothing that was stored is imported or executed.

`codec` is the format; `builtin_types` takes apart the built-in types that JSON lacks, `classes` the instances of
dataclasses, named tuples and pydantic models; `annotations` reads which classes a function may return.
The flow encodes before it stores and decodes before it serves.

To add a built-in type, add a row to `builtin_types.TYPES`; to add a kind of class, a subclass of `ClassCodec`.
"""
