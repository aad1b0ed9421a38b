"""What a stored chunk unpacks to, checked before the memory for it is taken.

An open Zarr array comes in; an array goes out whose chunks are errors if they unpack
to more bytes than its metadata declare. Blosc and LZ4 tell the size in a header. For
other compressions it is found by unpacking into as much memory as is declared, and no
more. Nothing here knows images, or where the bytes come from.
"""

from __future__ import annotations

import asyncio
import bz2
import lzma
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import imagecodecs
import zarr
from numcodecs.abc import Codec as NumCodec
from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.codecs import ShardingCodec
from zarr.core.metadata import ArrayV2Metadata
from zarr.registry import register_codec

SPARE_BYTES: Final = 1024
"""Bytes of checksums and the like that a chunk may have beside its pixels."""
_LZMA_MEMORY: Final = 1 << 28
_NAME: Final = "deepspot_scale.bounded"

Pieces = Callable[[bytes, int], Iterator[bytes]]


def _zlib_pieces(data: bytes, limit: int) -> Iterator[bytes]:
    while data:  # a file may have several members
        unpack = zlib.decompressobj(wbits=47)  # by their heads: zlib's or gzip's
        yield unpack.decompress(data, limit + 1)
        data = unpack.unused_data


def _bz2_pieces(data: bytes, limit: int) -> Iterator[bytes]:
    while data:
        unpack = bz2.BZ2Decompressor()
        yield unpack.decompress(data, limit + 1)
        data = unpack.unused_data


def _lzma_pieces(data: bytes, limit: int) -> Iterator[bytes]:
    while data:
        unpack = lzma.LZMADecompressor(memlimit=_LZMA_MEMORY + limit)
        yield unpack.decompress(data, limit + 1)
        data = unpack.unused_data


def _sized(pieces: Pieces) -> Callable[[bytes, int], int]:
    """Return a function that adds pieces up, as far as the limit."""

    def size(data: bytes, limit: int) -> int:
        total = 0
        for piece in pieces(data, limit):
            total += len(piece)
            if total > limit:
                break
        return total

    return size


def _zstd_size(data: bytes, limit: int) -> int:
    try:
        return len(imagecodecs.zstd_decode(data, out=limit))
    except imagecodecs.ZstdError as error:
        if "too small" in str(error):
            return limit + 1
        raise


def _number_at(offset: int) -> Callable[[bytes, int], int]:
    return lambda data, _: int.from_bytes(data[offset : offset + 4], "little")


SIZES: Final[dict[str, Callable[[bytes, int], int]]] = {
    "blosc": _number_at(4),
    "lz4": _number_at(0),
    "zstd": _zstd_size,
    "gzip": _sized(_zlib_pieces),
    "zlib": _sized(_zlib_pieces),
    "bz2": _sized(_bz2_pieces),
    "lzma": _sized(_lzma_pieces),
}
"""By compression: the size that bytes unpack to, or any above the limit."""
_IN_HEADERS: Final = frozenset({"blosc", "lz4"})
_HEADER: Final = 16
HARMLESS: Final = frozenset(
    {
        *("bytes", "transpose", "crc32c", "crc32", "adler32", "fletcher32"),
        *("shuffle", "delta", "bitround", "quantize", "fixedscaleoffset", "astype"),
    }
)
"""Codecs that give as many numbers as they take."""


def codec_names(array: zarr.Array[Any]) -> set[str]:
    """Return the names of all codecs of an array, also of those within shards."""
    metadata = array.metadata
    if isinstance(metadata, ArrayV2Metadata):
        chain = [metadata.compressor, *(metadata.filters or ())]
        return {str(codec.codec_id) for codec in chain if codec is not None}
    return set(_names(metadata.codecs))


def _names(codecs: tuple[Codec, ...]) -> Iterator[str]:
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            yield from _names(codec.codecs)
        elif not isinstance(codec, BoundedCodec):
            yield _name(codec)


def _name(codec: Codec) -> str:
    return str(codec.to_dict().get("name", "")).removeprefix("numcodecs.")


def largest_file(array: zarr.Array[Any]) -> int:
    """Return the most bytes that a chunk's or shard's file may have.

    Compressions add little, even to noise, and a shard has an index.
    """
    pieces = array.shards or array.chunks
    index = 16 * math.prod(n // k for n, k in zip(pieces, array.chunks, strict=True))
    return 2 * (math.prod(pieces) * array.dtype.itemsize + index) + (1 << 20)


def check_size(name: str, data: bytes | memoryview, declared: int) -> None:
    """Raise ValueError if bytes unpack to more than is declared."""
    limit = declared + SPARE_BYTES
    head = bytes(data[:_HEADER]) if name in _IN_HEADERS else bytes(data)
    if SIZES[name](head, limit) > limit:
        raise ValueError(
            f"a chunk of {len(data)} bytes unpacks to more than the {declared} that "
            "its metadata declare; it was not unpacked"
        )


def bound_chunks(array: zarr.Array[Any]) -> Any:
    """Return an array's metadata with a check before each compression is undone.

    Codecs whose sizes cannot be checked, see `SIZES`, are left as they are.
    """
    metadata = array.metadata
    if not isinstance(metadata, ArrayV2Metadata):
        return replace(metadata, codecs=_bounded(metadata.codecs))
    declared = math.prod(metadata.chunks) * array.dtype.itemsize
    filters = tuple(_bounded_v2(each, declared) for each in metadata.filters or ())
    compressor = _bounded_v2(metadata.compressor, declared)
    return replace(metadata, compressor=compressor, filters=filters)


def _bounded(codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Return codecs with a check behind, when reading before, each compression."""
    chain: list[Codec] = []
    for codec in codecs:
        if isinstance(codec, ShardingCodec):
            chain.append(replace(codec, codecs=_bounded(codec.codecs)))
        else:
            chain.append(codec)
            if _name(codec) in SIZES:
                chain.append(BoundedCodec(of=_name(codec)))
    return tuple(chain)


def _bounded_v2(codec: Any, declared: int) -> Any:
    known = codec is not None and codec.codec_id in SIZES
    return _BoundedV2(codec, declared) if known else codec


class _BoundedV2(NumCodec):  # type: ignore[misc]  # numcodecs has no types
    """A codec of Zarr 2 that checks the size before it unpacks."""

    codec_id = _NAME

    def __init__(self, codec: Any, declared: int) -> None:
        self.codec, self.declared = codec, declared
        self.codec_id = codec.codec_id

    def encode(self, buf: Any) -> Any:
        return self.codec.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        check_size(self.codec_id, memoryview(buf).cast("B"), self.declared)
        return self.codec.decode(buf, out)

    def get_config(self) -> Any:
        return self.codec.get_config()


@dataclass(frozen=True)
class BoundedCodec(BytesBytesCodec):
    """A codec of Zarr 3 that changes nothing and checks what the next one unpacks."""

    of: str
    """Name of that codec."""
    is_fixed_size = True

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Return the codec of a chunk's metadata, as `to_dict` gives them."""
        return cls(**data["configuration"])

    def to_dict(self) -> Any:
        """Return what names this codec; it is pickled so within shards."""
        return {"name": _NAME, "configuration": {"of": self.of}}

    def compute_encoded_size(self, input_byte_length: int, _: Any) -> int:
        """Return the same size."""
        return input_byte_length

    def _decode_sync(self, chunk_data: Any, chunk_spec: Any) -> Any:
        itemsize = chunk_spec.dtype.to_native_dtype().itemsize
        declared = math.prod(chunk_spec.shape) * itemsize
        check_size(self.of, memoryview(chunk_data.as_numpy_array()), declared)
        return chunk_data

    def _encode_sync(self, chunk_data: Any, _: Any) -> Any:
        return chunk_data

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        if self.of in _IN_HEADERS:  # for which a thread takes too long
            return self._decode_sync(chunk_data, chunk_spec)
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: Any, _: Any) -> Any:
        return chunk_data


register_codec(_NAME, BoundedCodec)
