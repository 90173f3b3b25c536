# The public names, each in the module that it is imported from when first used.
from .boxes import draw_squares as draw_squares, expand as expand, iou as iou, whole as whole
from .class_vectors import class_matrix as class_matrix, encode_classes as encode_classes, logits as logits
from .data.folders import folder as folder
from .data.manifest import Conversion as Conversion, Item as Item, Manifest as Manifest
from .data.opening import pictures_at as pictures_at
from .data.table import DATASETS as DATASETS, open_dataset as open_dataset
from .encoder import Encoder as Encoder
from .encoders.registry import list_encoders as list_encoders, load_encoder as load_encoder
from .errors import LgcaError as LgcaError
from .evaluation.classifier import ZeroShotClassifier as ZeroShotClassifier
from .evaluation.comparison import Comparison as Comparison, compare_predictions as compare_predictions
from .evaluation.evaluate import encode as encode
from .evaluation.explanation import ExplainedStep as ExplainedStep, Explanation as Explanation
from .evaluation.metrics import (
    by_class as by_class,
    calibration_error as calibration_error,
    confused as confused,
    confusion as confusion,
    metrics as metrics,
    reliability as reliability,
)
from .evaluation.parts import Part as Part, load_part as load_part, save_part as save_part
from .evaluation.record import Record as Record, load as load, save as save
from .evaluation.statistics import (
    crossed_interval as crossed_interval,
    holm as holm,
    interval as interval,
    paired_interval as paired_interval,
    sign_flip as sign_flip,
    summary as summary,
)
from .evaluation.store import FeatureSet as FeatureSet, Shard as Shard, Store as Store, pool_key as pool_key
from .lgca import LGCA as LGCA, Step as Step, Trace as Trace
from .methods import METHODS as METHODS, Method as Method
from .pixels import (
    Resize as Resize,
    as_picture as as_picture,
    crops as crops,
    crops_int32 as crops_int32,
    crops_on_device as crops_on_device,
    crops_pillow as crops_pillow,
    open_picture as open_picture,
    picture_tensor as picture_tensor,
)
from .prompts.class_prompts import ClassPrompts as ClassPrompts, prompts_of_dataset as prompts_of_dataset
from .prompts.files import read_descriptions as read_descriptions
from .prompts.sentences import descriptors as descriptors, plain as plain, templates as templates, waffle as waffle
from .views import Views as Views
from .wca import WCA as WCA

MODULES: dict[str, str]
