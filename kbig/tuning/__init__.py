"""Tuning: methods of fine-tuning, and distillation into a small student."""

from kbig.tuning.adapters import AdaptedEncoder as AdaptedEncoder
from kbig.tuning.altered_texts import altered_texts as altered_texts
from kbig.tuning.distillation import Distiller as Distiller
from kbig.tuning.distillation_losses import DistillationLoss as DistillationLoss
from kbig.tuning.distillation_losses import LabelAccuracy as LabelAccuracy
from kbig.tuning.distillation_losses import agreement as agreement
from kbig.tuning.distillation_losses import (
    distillation_targets as distillation_targets,
)
from kbig.tuning.features import features as features
from kbig.tuning.features import head_on_features as head_on_features
from kbig.tuning.freezing import Stage as Stage
from kbig.tuning.freezing import fit_in_stages as fit_in_stages
from kbig.tuning.freezing import plan_stages as plan_stages
from kbig.tuning.freezing import unfreeze as unfreeze
from kbig.tuning.lora import PROJECTIONS as PROJECTIONS
from kbig.tuning.lora import LoraEncoder as LoraEncoder
from kbig.tuning.lora import merged as merged
from kbig.tuning.methods import METHODS as METHODS
from kbig.tuning.methods import Tuning as Tuning
from kbig.tuning.methods import prepare as prepare
from kbig.tuning.parts import PartReport as PartReport
from kbig.tuning.parts import load_part as load_part
from kbig.tuning.parts import save_part as save_part
from kbig.tuning.transfer import check_classifier as check_classifier
from kbig.tuning.transfer import narrowed as narrowed
from kbig.tuning.transfer import teacher_logits as teacher_logits
from kbig.tuning.transfer import transfer_set as transfer_set
