from ehrpose.datasets.classification.cifar import Cifar10, Cifar100
from ehrpose.datasets.classification.digits import Digits
from ehrpose.datasets.classification.drawn_shapes import DrawnShapes
from ehrpose.datasets.classification.folders import ImageFolder, ImageNet
from ehrpose.datasets.classification.photos import UnlabelledPhotos

__all__ = ["Cifar10", "Cifar100", "Digits", "DrawnShapes", "ImageFolder", "ImageNet", "UnlabelledPhotos"]
