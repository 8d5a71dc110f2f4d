"""What is inside a model's file, read without running anything of it.

It loads neither TensorFlow nor Keras, and each file is read in a process of
its own, which ends when a broken file ends it.
"""

from kbig.inspection.inspect import inspect as inspect
from kbig.inspection.report import InspectionReport as InspectionReport
