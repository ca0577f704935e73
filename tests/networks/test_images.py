"""Images cut into tiles: what fits, what is refused, and that each tile is a piece of the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnprof.errors import UsageError
from nnprof.networks import images
from nnprof.types import MOST_SIDE, Image

_TILE = (1, 28, 28)
_sides = st.integers(1, MOST_SIDE)


@st.composite
def cuttings(draw: st.DrawFn) -> tuple[Image, tuple[int, int, int]]:
    """An image, and a shape of tiles that covers it."""
    tile = tuple(draw(st.integers(1, 6)) for _ in range(3))
    stride = draw(st.none() | st.integers(1, min(tile[1:])))
    sides = [side + draw(st.integers(0, 5)) * (stride or side) for side in (tile[1], tile[2])]
    return Image(height=sides[0], width=sides[1], stride=stride), (tile[0], tile[1], tile[2])


def test_figure_9_of_2016() -> None:
    """An image of 784×784 pixels has 28 · 28 = 784 tiles of 28×28 (Mattsson 2016, Figure 9)."""
    grid = images.grid(images.parse("784x784"), _TILE)
    assert (grid.rows, grid.columns, grid.tiles, grid.stride) == (28, 28, 784, (28, 28))


@given(_sides, _sides, st.none() | _sides)
def test_an_image_is_what_its_text_says(height: int, width: int, stride: int | None) -> None:
    """Its text parses to the same image, with its stride or without."""
    image = Image(height=height, width=width, stride=stride)
    assert images.parse(str(image)) == image


@given(cuttings(), st.integers(0, 2**32 - 1))
def test_each_tile_is_a_piece_of_the_image(
    cutting: tuple[Image, tuple[int, int, int]], seed: int
) -> None:
    """Tile number r · columns + c is the slice at r and c strides, and no pixel is left out."""
    image, tile = cutting
    grid = images.grid(image, tile)
    shape = (tile[0], image.height, image.width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    tiles = images.cut(pixels, tile, grid.stride)
    assert tiles.shape == (grid.tiles, *tile)
    covered = np.zeros(shape, bool)
    for index, one in enumerate(tiles):
        top = index // grid.columns * grid.stride[0]
        left = index % grid.columns * grid.stride[1]
        place = (slice(None), slice(top, top + tile[1]), slice(left, left + tile[2]))
        assert np.array_equal(one, pixels[place])
        covered[place] = True
    assert covered.all()


def test_tiles_are_copies_of_the_wanted_type() -> None:
    """What is written into a tile leaves the image and other tiles alone; values stay."""
    pixels = np.arange(36, dtype=np.uint8).reshape(1, 6, 6)
    tiles = images.cut(pixels, (1, 4, 4), (2, 2), np.float32)
    assert (tiles.dtype, tiles.flags.c_contiguous) == (np.float32, True)
    assert np.array_equal(tiles[3], pixels[:, 2:, 2:])
    tiles[0] = 255
    assert np.array_equal(tiles[3], pixels[:, 2:, 2:])
    assert pixels.max() == 35


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("784", "'784' is no image. Write height × width"),
        ("784x784x3", "'784x784x3' is no image."),
        ("784x784/", "'784x784/' is no image."),
        ("0x784", "a side or stride is not from 1 to 65536"),
        ("784x784/0", "a side or stride is not from 1 to 65536"),
        ("784x70000", "a side or stride is not from 1 to 65536"),
        ("27x784", "An image of 27×784 is smaller than a tile of 28×28. Give at least 28×28."),
        ("784x784/29", "A stride of 29 leaves gaps between tiles of 28×28."),
        ("800x784", "The next sizes that fit are 784x784 and 812x784."),
        ("785x783/14", "The next sizes that fit are 784x770/14 and 798x784/14."),
    ],
)
def test_what_cannot_be_cut(text: str, said: str) -> None:
    """An image that is none, too small or not covered is refused in a sentence with the remedy."""
    with pytest.raises(UsageError) as caught:
        images.grid(images.parse(text), _TILE)
    assert said in str(caught.value)


@given(st.integers(28, 2000), st.integers(28, 2000), st.integers(1, 28))
def test_the_sizes_that_are_named_fit(height: int, width: int, stride: int) -> None:
    """Of an image that is not covered, both sizes in the remedy are."""
    try:
        images.grid(Image(height=height, width=width, stride=stride), _TILE)
    except UsageError as error:
        below, above = error.remedy.removesuffix(".").split(" are ")[1].split(" and ")
        assert images.grid(images.parse(below), _TILE).stride == (stride, stride)
        assert images.grid(images.parse(above), _TILE).stride == (stride, stride)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((784,), "such as 1x28x28"),
        ((100_000,), "such as CHANNELSxHEIGHTxWIDTH"),
        ((60, 1), "60×1, which is no picture"),
        ((32, 32, 3), "its channels seem to come last"),
    ],
)
def test_what_is_no_picture(shape: tuple[int, ...], said: str) -> None:
    """No height and width are guessed: of an input that does not tell them nothing is cut."""
    with pytest.raises(UsageError) as caught:
        images.require_picture(shape, "net")
    assert said in str(caught.value)


@given(st.integers(1, 100_000))
def test_batches_divide(count: int) -> None:
    """Up to four batches, from one tile to all, or to the most at once; each divides the tiles."""
    found = images.batches(count)
    assert all(count % one == 0 for one in found)
    assert found[0] == 1
    assert len(found) <= 4
    most = max(one for one in images.divisors(count) if one <= images.MOST_AT_ONCE)
    assert found[-1] == most
    assert images.divisors(count) == tuple(n for n in range(1, count + 1) if count % n == 0)


def test_a_batch_that_leaves_tiles_over() -> None:
    """It is refused, and batches near it that divide the tiles are named."""
    images.require_dividing(784, 98)
    with pytest.raises(UsageError, match=r"Batch 100 does not divide the 784 tiles .* 98, 112"):
        images.require_dividing(784, 100)
