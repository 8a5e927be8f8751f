"""What tells one R-CNN from another: sizes, and the rules of the framework that it comes from."""

from __future__ import annotations

from dataclasses import dataclass

COCO_CLASSES = 80


@dataclass(frozen=True)
class Rules:
    """Where frameworks differ on the same layers.

    Attributes:
        framework: "torchvision" or "detectron2"; the card names it for resizing and pasting.
        mean, std: of the pixels from 0 to 255, in BGR, the order of pictures here.
        stride_in_1x1: whether a block's stride is in its first 1 x 1 convolution (MSRA's ResNets,
            detectron2's R50 and R101) or in the 3 x 3 one.
        rounded_anchors: torchvision rounds anchors' corners to whole pixels.
        measured_strides: torchvision divides the input's side by the level's, so that anchors on
            the coarsest level of a side that is no multiple of it are closer together.
        aligned: RoIAlign's half cell (detectron2's ROIAlignV2).
        sampling_ratio: RoIAlign's; 0 is adaptive.
        eps_ratio, eps_level: of the level rule (plugins/roi_align/README.md).
        ranks_probabilities: torchvision ranks proposals by their probability, detectron2 by its
            logit: of many sure ones the former are equal in fp32, and the order is another one.
        rpn_smallest: side below which a proposal is dropped.
        box_smallest: side below which a detection is dropped; below 0: none is.
    """

    framework: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stride_in_1x1: bool
    rounded_anchors: bool
    measured_strides: bool
    aligned: bool
    sampling_ratio: int
    eps_ratio: float
    eps_level: float
    ranks_probabilities: bool
    rpn_smallest: float
    box_smallest: float


TORCHVISION = Rules(
    framework="torchvision",
    mean=(0.406 * 255, 0.456 * 255, 0.485 * 255),
    std=(0.225 * 255, 0.224 * 255, 0.229 * 255),
    stride_in_1x1=False,
    rounded_anchors=True,
    measured_strides=True,
    aligned=False,
    sampling_ratio=2,
    eps_ratio=0.0,
    eps_level=1e-6,
    ranks_probabilities=True,
    rpn_smallest=1e-3,
    box_smallest=1e-2,
)
DETECTRON2 = Rules(
    framework="detectron2",
    mean=(103.530, 116.280, 123.675),
    std=(1.0, 1.0, 1.0),
    stride_in_1x1=True,
    rounded_anchors=False,
    measured_strides=False,
    aligned=True,
    sampling_ratio=0,
    eps_ratio=1e-8,
    eps_level=0.0,
    ranks_probabilities=False,
    rpn_smallest=1e-38,  # above nothing, that is
    box_smallest=-1.0,
)


@dataclass(frozen=True)
class RcnnSpec:
    """One network.

    Attributes:
        name: what `to_onnx.py` calls it.
        rules: of its framework.
        classes: of objects; the background is not counted.
        blocks: residual blocks in each of the four stages.
        groups, width: of a block's 3 x 3 convolution in the first stage (ResNeXt).
        pyramid: FPN; or else the C4 head, which runs the last stage on each region.
        rpn_convs: 3 x 3 convolutions in the RPN's head.
        box_convs: 3 x 3 convolutions before the box head's fully connected layers.
        box_fcs: those layers, 1,024 wide.
        masks: "none", "class" (a mask for each class) or "agnostic".
        mask_convs: 3 x 3 convolutions in the mask head.
        keypoints: of a person, 0 for none.
        rpn_before, rpn_after: proposals a level before NMS, and of a picture after it.
        detections: of a picture at most.
        score_threshold: that a detection has to exceed.
        smallest_side, largest_side: the picture is resized to the first, unless that makes its
            longer side exceed the second.
    """

    name: str
    rules: Rules
    classes: int = COCO_CLASSES
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    groups: int = 1
    width: int = 64
    pyramid: bool = True
    rpn_convs: int = 1
    box_convs: int = 0
    box_fcs: int = 2
    masks: str = "none"
    mask_convs: int = 4
    keypoints: int = 0
    rpn_before: int = 1000
    rpn_after: int = 1000
    detections: int = 100
    score_threshold: float = 0.05
    smallest_side: int = 800
    largest_side: int = 1333

    @property
    def mask_size(self) -> int:
        """Side of the masks that come out, 0 without."""
        return 0 if self.masks == "none" else 28 if self.pyramid else 14

    @property
    def multiple(self) -> int:
        """What a picture's sides are padded to multiples of: a pyramid's levels must halve."""
        return 32 if self.pyramid else 1
