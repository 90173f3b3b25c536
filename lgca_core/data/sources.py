"""The published data sets that the papers evaluate: one table of addresses, checksums, counts and licences.

Addresses and checksums that torchvision has too are copied with their source, so that the table does not change with
the installed version; a test compares the two.
"""

from dataclasses import replace
from functools import partial

from lgca_core.data.class_names import (
    cub_name,
    imagenet_former,
    imagenet_name,
    list_of,
    places_distinct,
    places_name,
    spaced,
    wnids,
)
from lgca_core.data.downloads import Archive
from lgca_core.data.layouts import (
    DEVKIT,
    imagenet_v2_class,
    read_class_folders,
    read_cub,
    read_dtd,
    read_food101,
    read_imagenet,
    read_pets,
    read_places365,
)
from lgca_core.data.source import Source

_TORCHVISION = "torchvision 0.29, torchvision.datasets"
_TFDS = "TensorFlow Datasets"
_CLIP = "the CLIP paper (arXiv 2103.00020), table of data sets"
_TWICE = (
    "Two of its 1,000 names occur twice, missile and sunglasses: no picture of the class that comes second can be "
    "right, so no method can be above 99.8 %."
)


def _hendrycks(letter: str, size: int, sha256: str) -> tuple[Archive, ...]:
    address = f"https://people.eecs.berkeley.edu/~hendrycks/imagenet-{letter}.tar"
    source = f"{_TFDS}, imagenet_{letter}/checksums.tsv"
    return (Archive(f"imagenet-{letter}.tar", (address,), size, f"sha256:{sha256}", source),)


SOURCES: dict[str, Source] = {
    "imagenet": Source(
        title="ImageNet (ILSVRC 2012)",
        split="val",
        homepage="https://image-net.org/download.php",
        images=50_000,
        per_class=50,
        counted=f"{_CLIP}; ILSVRC 2012 development kit",
        licence="research",
        terms="terms of access on its download page: non-commercial research and education; each user asks for access",
        archives=(
            Archive(
                "ILSVRC2012_img_val.tar",
                (),
                6_744_924_160,
                "md5:29b22e2961454d5413ddabcf34fc5622",
                f"size: {_TFDS}, url_checksums/imagenet2012.txt; checksum: {_TORCHVISION}.imagenet",
                into="val",
            ),
            Archive(
                f"{DEVKIT}.tar.gz",
                (),
                None,
                "md5:fa75699e90414af021442c21a62c3abf",
                f"{_TORCHVISION}.imagenet",
            ),
        ),
        folder="imagenet",
        layout=f"val/<wnid>/*.JPEG, or the pictures of ILSVRC2012_img_val.tar and {DEVKIT}.tar.gz",
        prompts="imagenet",
        read=read_imagenet,
        ids=wnids,
        name=imagenet_name,
        former=imagenet_former,
        note=_TWICE,
        released_pool=60,
    ),
    "imagenet-v2": Source(
        title="ImageNet-V2",
        split="matched-frequency",
        homepage="https://github.com/modestyachts/ImageNetV2",
        images=10_000,
        per_class=10,
        counted="the README of its repository",
        licence="MIT (repository)",
        terms="LICENSE of its repository, which by its README is not of the pictures: they are from Flickr, to be "
        "used as ImageNet's; the card beside its archives, huggingface.co/datasets/vaishaal/ImageNetV2, says MIT",
        archives=(
            Archive(
                "imagenetv2-matched-frequency.tar.gz",
                (
                    "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/"
                    "imagenetv2-matched-frequency.tar.gz",
                ),
                1_264_079_360,
                "sha256:f0c37fdf925916b19ea1323cd9a2208cdb6959ba2c32eef2a7fc393835c9ca7c",
                f"{_TFDS}, imagenet_v2/checksums.tsv",
            ),
        ),
        folder="imagenet-v2",
        layout="imagenetv2-matched-frequency-format-val/<label>/*.jpeg",
        prompts="imagenetv2",
        read=partial(
            read_class_folders,
            tops=("imagenetv2-matched-frequency-format-val", "ImageNetV2-matched-frequency"),
            class_of=imagenet_v2_class,
        ),
        ids=wnids,
        name=imagenet_name,
        former=imagenet_former,
        note=_TWICE,
    ),
    "imagenet-r": Source(
        title="ImageNet-R",
        split="test",
        homepage="https://github.com/hendrycks/imagenet-r",
        images=30_000,
        per_class=None,
        counted="the README of its repository",
        licence="MIT (repository)",
        terms="LICENSE of its repository; the pictures' own rights are not stated",
        archives=_hendrycks("r", 2_191_079_936, "18c6bf493b39a0d975d48e587437f562caab9c52ae6327dcfa9dd8eb54aa1b52"),
        folder="imagenet-r",
        layout="imagenet-r/<wnid>/*.jpg of its 200 classes",
        prompts="imagenet-r",
        read=partial(read_class_folders, tops=("imagenet-r",)),
        ids=partial(wnids, "r"),
        name=imagenet_name,
        former=imagenet_former,
        released_pool=None,
    ),
    "imagenet-a": Source(
        title="ImageNet-A",
        split="test",
        homepage="https://github.com/hendrycks/natural-adv-examples",
        images=7_500,
        per_class=None,
        counted="its paper (arXiv 1907.07174)",
        licence="MIT (repository)",
        terms="LICENSE of its repository; the pictures' own rights are not stated",
        archives=_hendrycks("a", 687_552_512, "3bb3632277e6ba6392ea64c02ddbf4dd2266c9caffd6bc09c9656d28f012589e"),
        folder="imagenet-a",
        layout="imagenet-a/<wnid>/*.jpg of its 200 classes",
        prompts="imagenet-a",
        read=partial(read_class_folders, tops=("imagenet-a",)),
        ids=partial(wnids, "a"),
        name=imagenet_name,
        former=imagenet_former,
        released_pool=None,
    ),
    "imagenet-sketch": Source(
        title="ImageNet-Sketch",
        split="test",
        homepage="https://github.com/HaohanWang/ImageNet-Sketch",
        images=50_889,
        per_class=None,
        counted="Hugging Face datasets, imagenet_sketch/dataset_infos.json (its README rounds to 50 a class)",
        licence="MIT (repository)",
        terms="LICENSE of its repository; the pictures' own rights are not stated",
        archives=(
            Archive(
                "ImageNet-Sketch.zip",
                # The second author's copy, which the data set's page leads to; on Google Drive lie the same bytes.
                ("https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/ImageNet-Sketch.zip",),
                7_593_573_012,
                "sha256:4d3ce6b82a7c48aabf14aeac105eb533e75707f152cc858f55bfc022031a72ed",
                f"Hugging Face datasets, imagenet_sketch/dataset_infos.json; {_TFDS}, imagenet_sketch/checksums.tsv; "
                "unpacked: the README of its repository",
                unpacked=8_400_000_000,
            ),
        ),
        folder="imagenet-sketch",
        layout="sketch/<wnid>/*.JPEG",
        prompts="imagenet-s",
        read=partial(read_class_folders, tops=("sketch",)),
        ids=wnids,
        name=imagenet_name,
        former=imagenet_former,
        note=_TWICE,
        released_pool=None,
    ),
    "cub": Source(
        title="CUB-200-2011",
        split="test",
        homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        images=5_794,
        per_class=None,
        counted=f"{_TFDS}, caltech_birds2011",
        licence="none stated",
        terms="the README in its archive states none; the photographs are from Flickr",
        archives=(
            Archive(
                "CUB_200_2011.tgz",
                ("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
                1_150_585_339,
                "sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
                f"address: {_TFDS}, image_classification/caltech_birds.py; size and checksum: the same, "
                "url_checksums/caltech_birds2011.txt",
            ),
        ),
        folder="cub",
        layout="CUB_200_2011/ with images/, images.txt, train_test_split.txt, image_class_labels.txt and classes.txt",
        prompts="cub",
        read=read_cub,
        ids=partial(list_of, "cub.txt"),  # its own classes.txt
        name=cub_name,
    ),
    "pets": Source(
        title="Oxford-IIIT Pet",
        split="test",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/pets/",
        images=3_669,
        per_class=None,
        counted=_CLIP,
        licence="CC BY-SA 4.0",
        terms="its page; the copyright remains with the owners of the pictures",
        archives=tuple(
            Archive(
                f"{part}.tar.gz",
                (
                    f"https://www.robots.ox.ac.uk/~vgg/data/pets/data/{part}.tar.gz",
                    f"https://thor.robots.ox.ac.uk/~vgg/data/pets/{part}.tar.gz",
                ),
                size,
                f"sha256:{sha256}",
                f"first address: {_TORCHVISION}.oxford_iiit_pet; second, size and checksum: {_TFDS}, "
                "oxford_iiit_pet/checksums.tsv",
            )
            for part, size, sha256 in (
                ("images", 791_918_971, "67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d"),
                ("annotations", 19_173_078, "52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91"),
            )
        ),
        folder="pets",
        layout="images/ and annotations/test.txt",
        prompts="oxford_pet",
        read=read_pets,
        ids=partial(list_of, "pets.txt"),  # TensorFlow Datasets, oxford_iiit_pet
        name=spaced,
    ),
    "dtd": Source(
        title="Describable Textures (DTD)",
        split="test 1",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
        images=1_880,
        per_class=40,
        counted=_CLIP,
        licence="research",
        terms="its page, as TensorFlow Datasets quotes it",
        archives=(
            Archive(
                "dtd-r1.0.1.tar.gz",
                ("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
                625_239_812,
                "sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
                f"address: {_TORCHVISION}.dtd; size and checksum: {_TFDS}, url_checksums/dtd.txt",
            ),
        ),
        folder="dtd",
        layout="dtd/ with images/ and labels/test1.txt",
        prompts="dtd",
        read=read_dtd,
        ids=partial(list_of, "dtd.txt"),  # its own folders
        name=str,
    ),
    "food101": Source(
        title="Food-101",
        split="test",
        homepage="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
        images=25_250,
        per_class=250,
        counted=f"{_TORCHVISION}.food101",
        licence="scientific fair use",
        terms="license_agreement.txt in its archive, as Hugging Face datasets quote it: pictures of Foodspotting",
        archives=(
            Archive(
                "food-101.tar.gz",
                ("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",),
                4_996_278_331,
                "sha256:d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",
                f"address: {_TORCHVISION}.food101; size and checksum: {_TFDS}, url_checksums/food101.txt",
            ),
        ),
        folder="food101",
        layout="food-101/ with images/ and meta/test.json",
        prompts="food101",
        read=read_food101,
        ids=partial(list_of, "food101.txt"),  # Hugging Face datasets, food101; sorted as torchvision does
        name=spaced,
    ),
    "places365": Source(
        title="Places365",
        split="val",
        homepage="http://places2.csail.mit.edu/",
        images=36_500,
        per_class=100,
        counted="the README of its development kit, github.com/zhoubolei/places_devkit",
        licence="research",
        terms="its download page: non-commercial research and education; the pictures' copyright is their owners'",
        archives=tuple(
            Archive(
                name,
                (f"http://data.csail.mit.edu/places/places365/{name}",),
                None,
                f"md5:{md5}",
                f"{_TORCHVISION}.places365 (small=False); the size is published in rounded form only",
                about=about,
            )
            for name, md5, about in (
                ("val_large.tar", "9b71c4993ad89d2d8bcbdc4aef38042f", 2_100_000_000),
                ("filelist_places365-standard.tar", "35a0585fee1fa656440f3ab298f8479c", 0),
            )
        ),
        folder="places365",
        layout="places365_val.txt, categories_places365.txt and val_large/ (full size, not val_256/)",
        prompts="place365",
        read=read_places365,
        alpha=0.7,
        ids=partial(list_of, "places365.txt"),  # categories_places365.txt of its development kit
        name=places_name,
    ),
}
SOURCES["places365-distinct"] = replace(
    SOURCES["places365"],
    title="Places365, distinct names",
    note="The 40 classes whose names are shared have the published sentences of the shared name, with theirs in its "
    "place; 408 of these 958 sentences (43 %) do not say it and stay the same for all that share it. The code "
    "of LaZSL has 365 distinct names too, but others, as arena-hockey for hockey arena here.",
    name=places_distinct,
    key=places_name,
)
"""Every published data set by name."""
